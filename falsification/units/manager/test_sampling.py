"""The manager's monitor: a history of what daemons use, for the next manager too."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from duende import cli
from duende.cli import exits
from duende.cli.past import lines_of, squeezed
from duende.errors import ConfigError, DaemonIOError, DuendeError
from duende.manager.client import ManagerClient
from duende.manager.sampling import CAPACITY, COLUMNS, Sampling
from duende.manager.scraping import Scraping, parse_address
from duende.observe.trees import NOTHING, Usage
from falsification.units.loops import DEADLINE

FLEET = """
[[daemon]]
name = "asks"
binary_path = "{python}"
args = ["-c", "import time\\nwhile True:\\n    sum(range(30000))\\n    time.sleep(0.001)"]
readiness = {{ kind = "none", settle = 0.0 }}
[[daemon]]
name = "away"
binary_path = "/bin/true"
autostart = false
"""


def usage(cpu: float, memory: float = 1e6) -> Usage:
    """One look's finding."""
    return Usage(cpu, memory, 1, 1, math.nan, 0)


def sampling(folder: Path) -> Sampling:
    """One that nobody has started: what it keeps is given to it."""
    return Sampling(str(folder), 5.0, dict)


def test_the_next_one_goes_on(tmp_path: Path) -> None:
    """With what the one before kept, by the name of the daemon; no more than there is room for."""
    first = sampling(tmp_path)
    for number in range(CAPACITY + 3):
        first.keep({"one": usage(number), "two": NOTHING})
    second = sampling(tmp_path)  # the first was not closed: it was killed
    assert [each[1] for each in second.history("one")] == list(range(3, CAPACITY + 3))
    assert second.history("two") == second.history("three") == []
    second.keep({"one": usage(-1)})
    assert second.history("one", 3600.0)[-1][1] == -1
    assert second.history("one", -1.0) == []
    asyncio.run(second.close())
    asyncio.run(first.close())


def test_a_daemon_that_is_forgotten(tmp_path: Path) -> None:
    """Its history goes with it."""
    found = sampling(tmp_path)
    found.keep({"one": usage(1), "two": usage(2)})
    found.keep({"two": usage(2)})
    assert (found.history("one"), len(found.history("two"))) == ([], 2)
    asyncio.run(found.close())


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples stay in the order they were taken in, for whoever reads them from the file as well."""
    found = sampling(tmp_path)
    for at in (1000.0, 900.0, 1001.0):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        found.keep({"one": usage(at)})
    told = [each[:2] for each in found.history("one", math.inf)]
    assert told == [[1000.0, 1000.0], [1000.0, 900.0], [1001.0, 1001.0]]
    assert [each[:2] for each in sampling(tmp_path).history("one", math.inf)] == told


def test_a_file_that_is_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is set aside and told; there is a new one."""
    (tmp_path / "history").write_text("dear diary")
    found = sampling(tmp_path)
    assert "set aside as" in capsys.readouterr().err
    assert (tmp_path / "history.unreadable-0").read_text() == "dear diary"
    found.keep({"one": usage(1)})
    assert len(sampling(tmp_path).history("one")) == 1


def test_a_file_that_cannot_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The history is in memory alone, and says so."""
    (tmp_path / "history").mkdir()
    found = sampling(tmp_path)
    found.keep({"one": usage(7)})
    told = found.told("one", 60.0)
    assert "cannot open the history" in told["trouble"]
    assert "cannot open the history" in capsys.readouterr().err
    assert [each[1] for each in told["samples"]] == [7]
    assert "kept in memory alone" in lines_of(told, 100, " .:-=+*#@")[-1]


def test_what_is_told_to_exporters(tmp_path: Path) -> None:
    """CPU in processors; nothing where nothing is known."""
    found = sampling(tmp_path)
    found.keep({"one": usage(50.0), "new": usage(math.nan), "gone": NOTHING})
    families = {
        each.name: {labels["daemon"]: value for labels, value in each.samples} for each in found.families()
    }
    assert families["duende_daemon_cpu_ratio"] == {"one": 0.5}
    assert families["duende_daemon_resident_memory_bytes"] == {"one": 1e6, "new": 1e6}


def test_how_it_is_shown() -> None:
    """Least, mean and most; a curve as wide as there is room for; a gap where CPU is not known yet."""
    samples = [
        [1e9 + number, None if number == 0 else number % 7, 1e6 * number, 1, 2, 0, 0] for number in range(300)
    ]
    told = {"name": "one", "interval": 1.0, "columns": ["time", *COLUMNS], "samples": samples, "trouble": ""}
    lines = lines_of(told, 100, " .:-=+*#@")
    assert "300 samples" in lines[0]
    assert lines[3].split()[:5] == ["cpu", "0.0%", "3.0%", "6.0%", "5.0%"]
    assert all(len(line) <= 100 for line in lines)
    assert "no samples yet" in lines_of({**told, "samples": []}, 100, " .:-=+*#@")[0]
    assert squeezed([1, 9, 2, 3], 2) == [9, 3]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:0", ("::1", 0)),
        (":80", ("", 80)),
        ("host:1", ("host", 1)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """Host and port."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "9464", "host:", "host:65536", "::1:80", "host:-1", "host:٣"])
def test_what_is_no_address(text: str) -> None:
    """Is named, with what would be one."""
    with pytest.raises(ConfigError, match="cannot listen on"):
        parse_address(text)


def test_an_address_that_is_taken() -> None:
    """Is told with the option that helps."""

    async def body() -> None:
        first = Scraping("127.0.0.1:0", list)
        await first.open()
        try:
            with pytest.raises(DaemonIOError, match="--metrics-listen"):
                await Scraping(first.address, list).open()
        finally:
            first.close()

    asyncio.run(body())


class Managed:
    """A manager with a monitor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = folder / "fleet.toml"
        self.fleet.write_text(FLEET.format(python=sys.executable))
        self.options = ["--runtime-dir", str(folder / "r"), "--state-dir", str(folder / "s")]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start one."""
        line = [sys.executable, "-m", "duende", "manager", str(self.fleet), "--monitor=0.1s", *self.options]
        return subprocess.Popen([*line, "--metrics-listen", "127.0.0.1:0"])

    def samples(self) -> list[list[Any]]:
        """What is known of the daemon that runs."""
        try:
            with ManagerClient(str(self.folder / "r")) as client:
                found: list[list[Any]] = client.ask("history", name="asks")["samples"]
                return found
        except DuendeError:
            return []  # it is not up yet

    def wait(self, count: int) -> list[list[Any]]:
        """Until there are so many samples."""
        deadline = time.monotonic() + DEADLINE
        while len(found := self.samples()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    """One, shut down at the end."""
    made = Managed(tmp_path)
    yield made
    assert cli.main(["shutdown", *made.options]) == exits.OK
    assert made.process.wait(DEADLINE) == 0


def test_a_manager_that_is_killed(managed: Managed, capsys: pytest.CaptureFixture[str]) -> None:
    """The next one has all that this one told of, and goes on; the command shows it."""
    before = managed.wait(5)
    os.kill(managed.process.pid, signal.SIGKILL)
    managed.process.wait()
    managed.process = managed.start()
    after = managed.wait(len(before) + 3)
    assert after[: len(before)] == before
    assert any(each[1] for each in after[len(before) :])
    assert cli.main(["history", "asks", "--last", "5m", *managed.options]) == exits.OK
    shown = capsys.readouterr().out
    assert "one every 0.1 s" in shown
    assert [line.split()[0] for line in shown.splitlines()[3:]] == ["cpu", "memory", "threads", "processes"]
    assert cli.main(["history", "away", *managed.options]) == exits.OK
    assert "no samples yet" in capsys.readouterr().out
    assert cli.main(["history", "asks", "--json", *managed.options]) == exits.OK
    assert json.loads(capsys.readouterr().out)["result"]["columns"] == ["time", *COLUMNS]
    assert cli.main(["history", "asks", "--last", "ever", *managed.options]) == exits.FAILED
    assert "duration" in capsys.readouterr().err
    assert cli.main(["history", "who", *managed.options]) == exits.NOT_FOUND
    assert cli.main(["metrics", *managed.options]) == exits.OK
    assert 'duende_daemon_processes{daemon="asks"} 1' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--monitor=1ms", "--monitor 1ms"),
        ("--monitor=often", "often"),
        ("--metrics-listen=nowhere", "nowhere"),
    ],
)
def test_a_manager_told_nonsense(tmp_path: Path, word: str, told: str) -> None:
    """It says so and ends, with a code that says it is the configuration."""
    line = [sys.executable, "-m", "duende", "manager", word]
    line += ["--runtime-dir", str(tmp_path / "r"), "--state-dir", str(tmp_path / "s")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 78
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_manager_without_a_monitor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says how to have one."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET.format(python=sys.executable))
    options = ["--runtime-dir", str(tmp_path / "r"), "--state-dir", str(tmp_path / "s")]
    assert cli.main(["start", str(fleet), *options]) == exits.OK
    capsys.readouterr()
    assert cli.main(["history", "asks", *options]) == exits.FAILED
    assert "--monitor 5s" in capsys.readouterr().err
    assert cli.main(["shutdown", *options]) == exits.OK
