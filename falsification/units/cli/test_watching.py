"""`duende top` and `duende trace` on a manager with real daemons, in a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende import cli
from duende.cli import exits, screen, topping
from duende.cli.screen import bar, changes, spark
from duende.manager.client import ManagerClient
from falsification.units.loops import DEADLINE
from falsification.workbench import CLASSES

FLEET = """
[[daemon]]
name = "asks"
binary_path = "{python}"
args = ["-c", "import os, time\\nwhile True:\\n    os.getppid()\\n    sum(range(30000))\\n    time.sleep(0.001)"]
resources = {{ memory_bytes = "512MiB", cpu_quota_percent = 50 }}
[[daemon]]
name = "relay"
daemon = "{classes}:Relay"
settings = {{ listen = "{folder}/relay.sock" }}
[[daemon]]
name = "stays-away"
binary_path = "/bin/true"
restart = "never"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a manager that has them."""
    folder = tmp_path_factory.mktemp("watched")
    fleet = folder / "fleet.toml"
    fleet.write_text(FLEET.format(python=sys.executable, classes=CLASSES, folder=folder))
    line = [sys.executable, "-m", "duende", "manager", str(fleet), "--no-keep"]
    line += ["--runtime-dir", str(folder / "r"), "--state-dir", str(folder / "s")]
    process = subprocess.Popen(line)
    deadline = time.monotonic() + DEADLINE
    while not _runs(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield folder
    process.terminate()
    assert process.wait(DEADLINE) == 0


def _runs(folder: Path) -> bool:
    try:
        with ManagerClient(str(folder / "r")) as client:
            states = {view["name"]: view["status"] for view in client.ask("list")}
    except Exception:  # noqa: BLE001 - not up yet
        return False
    return states == {"asks": "Running", "relay": "Running", "stays-away": "Stopped"}


def duende(served: Path, *words: str) -> int:
    """Run the command."""
    return cli.main([*words, "--runtime-dir", str(served / "r"), "--state-dir", str(served / "s")])


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    """What it printed as JSON."""
    return json.loads(capsys.readouterr().out)


def test_top_in_a_pipe(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints once, plainly: use beside limits."""
    assert duende(served, "top", "--interval", "0.2") == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert "3 daemons, 2 running" in lines[0]
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["asks", "Running"],
        ["relay", "Running"],
        ["stays-away", "Stopped"],
    ]
    assert "512 MiB" in lines[3]
    assert "50%" in lines[3]
    assert "\x1b" not in "".join(lines)


def test_top_as_json(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Has what the manager says and what was measured, sorted as asked."""
    assert duende(served, "top", "--json", "--interval", "0.3", "--sort", "cpu") == exits.OK
    found = answer(capsys)["result"]
    assert found[0]["name"] == "asks"
    assert found[0]["cpu_percent"] > 0
    assert found[0]["memory_bytes"] > 1 << 20
    assert (found[0]["processes"], found[-1]["processes"]) == (1, 0)
    assert found[0]["limits"]["memory"]["limit"] == 512 << 20


def test_top_that_makes_no_sense(served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An interval of nothing, and no manager."""
    assert duende(served, "top", "--interval", "0") != exits.OK
    assert "--interval" in capsys.readouterr().err
    assert duende(tmp_path, "top") != exits.OK
    assert "no manager" in capsys.readouterr().err


class Terminal:
    """`duende top` in a terminal, and what it has drawn."""

    def __init__(self, served: Path, **environ: str) -> None:
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who is started in the background ignores it
            line = [
                sys.executable,
                "-m",
                "duende",
                "top",
                "--interval",
                "0.2",
                "--runtime-dir",
                str(served / "r"),
            ]
            os.execve(sys.executable, line, {**os.environ, "TERM": "xterm", **environ})

    def until(self, pattern: str) -> None:
        """Read until the pattern is there."""
        deadline = time.monotonic() + DEADLINE
        while re.search(pattern, self.text) is None:
            assert time.monotonic() < deadline, self.text[-2000:]
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    assert re.search(pattern, self.text), self.text[-2000:]

    def press(self, key: str) -> None:
        """Press a key; what was drawn before is forgotten."""
        self.text = ""
        os.write(self.fd, key.encode())

    def ended(self) -> int:
        """Its exit code."""
        assert self.pid > 1
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_top_in_a_terminal(served: Path) -> None:
    """Draws, sorts by a key, draws only what changed, and gives the terminal back."""
    terminal = Terminal(served, COLUMNS="150", LINES="20", PYTHONIOENCODING="utf-8")
    terminal.until(r"asks.*\x1b\[32mRunning")
    terminal.until("sorted by name")
    terminal.press("m")
    terminal.until("sorted by memory")
    terminal.press("")
    terminal.until("duende top")
    terminal.until("[▁▂▃▄▅▆▇█]{4}")
    assert "stays-away" not in terminal.text, "a line that did not change is not sent again"
    terminal.press("q")
    terminal.until(re.escape(screen.CURSOR_ON))
    assert terminal.ended() == 0


def test_top_without_colour_and_letters(served: Path) -> None:
    """NO_COLOR and ASCII; Ctrl-C ends it too."""
    terminal = Terminal(served, NO_COLOR="1", PYTHONIOENCODING="ascii", COLUMNS="150", LINES="20")
    terminal.until("sorted by name")
    assert "\x1b[32m" not in terminal.text
    os.kill(terminal.pid, signal.SIGINT) if terminal.pid > 1 else None
    terminal.until(re.escape(screen.CURSOR_ON))
    assert terminal.ended() == 0


LINES = st.lists(st.text("abc ", max_size=5), max_size=6)


@given(before=LINES, after=LINES)
def test_changes_make_the_screen(before: list[str], after: list[str]) -> None:
    """Whatever was there: a terminal of a few lines, kept here, has what it should afterwards."""
    shown = [*before, *[""] * 8]
    for row, text, rest in re.findall(r"\x1b\[(\d+);1H([^\x1b]*)\x1b\[([KJ])", changes(before, after)):
        if rest == "K":
            shown[int(row) - 1] = text
        else:
            shown[int(row) - 1 :] = [""] * (len(shown) - int(row) + 1)
    assert shown[: len(after)] == after
    assert not any(shown[len(after) :])


@given(values=st.lists(st.floats(0, 1e9), max_size=30), top=st.floats(0, 1e9))
def test_curves_and_bars(values: list[float], top: float) -> None:
    """Are as wide as asked, and full where the most is."""
    drawn = spark(values, 10, top)
    assert len(drawn) == 10
    assert len(bar(values[0] if values else 0, top, 10)) == 10
    assert bar(5, 5, 4) == "████"
    assert bar(9, 0, 4) == "    "
    if values and max(values[-10:]) > top:
        assert "█" in drawn


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [("abc", 2, "ab"), ("\x1b[1mabc\x1b[0m", 2, "\x1b[1mab\x1b[0m"), ("ab", 5, "ab"), ("", 3, "")],
)
def test_lines_are_cut(line: str, width: int, shown: str) -> None:
    """By what is seen of them."""
    assert topping._cut(line, width) == shown


def test_trace_as_json(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Has every call, and where it comes from, when asked."""
    assert duende(served, "trace", "asks", "--seconds", "0.5", "--json", "--source") == exits.OK
    found = answer(capsys)["result"]
    counts = {each["name"]: each["count"] for each in found["report"]["latencies"]}
    assert counts["getppid"] > 10
    lines = {site["call"]: site["stack"][0]["line"] for site in found["sites"]}
    assert lines["getppid"] == 3


def test_trace_with_pictures(served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Are two, and the report beside them."""
    assert duende(served, "trace", "asks", "--seconds", "0.5", "--pictures", str(tmp_path / "p")) == exits.OK
    told = capsys.readouterr().out
    assert "getppid" in told
    assert "getppid" in (tmp_path / "p" / "flame.svg").read_text()
    assert (tmp_path / "p" / "heat.svg").read_text().startswith("<svg")
    assert json.loads((tmp_path / "p" / "trace.json").read_text())["report"]["calls"] > 10
    (tmp_path / "file").write_text("")
    assert (
        duende(served, "trace", "asks", "--seconds", "0.1", "--pictures", str(tmp_path / "file" / "p"))
        != exits.OK
    )
    assert "cannot write" in capsys.readouterr().err


def test_trace_with_spans(served: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what a Daemon's spans waited for."""
    asks = (
        "import socket, sys, time\nend = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n    with socket.socket(socket.AF_UNIX) as s:\n"
        "        s.connect(sys.argv[1]); s.sendall(b'x: y\\n\\n'); s.recv(99)\n"
        "    print('answered', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", asks, str(served / "relay.sock")], stdout=subprocess.PIPE
    ) as load:
        try:
            assert load.stdout is not None
            assert load.stdout.readline() == b"answered\n"
            assert duende(served, "trace", "relay", "--seconds", "2") == exits.OK
        finally:
            load.kill()
    assert re.search(r"what its spans waited for\n  relay ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "why"),
    [(("stays-away",), "does not run"), (("asks", "--seconds", "0"), "--seconds"), (("nobody",), "nobody")],
)
def test_trace_that_cannot_be(
    served: Path, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is told."""
    assert duende(served, "trace", *words) != exits.OK
    assert why in capsys.readouterr().err
