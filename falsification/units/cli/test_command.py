"""The command against a real control socket, with the fake platform behind it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from duende import cli
from duende.cli import exits, output
from duende.cli.command import parser
from duende.errors import (
    AlreadyRunningError,
    DaemonIOError,
    NotFoundError,
    PlatformIOError,
    SerializationError,
)
from duende.manager import DaemonManager
from duende.manager.client import ManagerClient, RemoteError
from duende.manager.control import Control
from duende.manager.service import plainly
from duende.states import HealthStatus
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.loops import DEADLINE, run
from falsification.units.test_supervisor import BASE, replaced


class Served:
    """A manager with its control socket, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.adapter = FakeAdapter()
        self.up = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.thread.start()
        assert self.up.wait(DEADLINE)

    async def serve(self) -> None:
        """Serve until shutdown."""
        self.loop, self.finished = asyncio.get_running_loop(), asyncio.Event()

        async def finish() -> None:
            self.finished.set()

        async with DaemonManager(
            adapter=self.adapter, state_dir=str(self.folder / "s"), runtime_dir=str(self.folder / "r")
        ) as manager:
            self.manager = manager
            manager.register(BASE)
            manager.register(replaced(name="other", description="the other one"))
            control = Control(manager, finish)
            await control.open()
            self.up.set()
            await self.finished.wait()
            await control.close()

    def end(self) -> None:
        """End the thread."""
        if self.thread.is_alive():
            try:
                self.loop.call_soon_threadsafe(self.finished.set)
            except RuntimeError:
                pass  # it has just ended by itself
        self.thread.join(DEADLINE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A manager that knows two daemons."""
    made = Served(tmp_path)
    yield made
    made.end()


def duende(served: Served, *words: str) -> int:
    """Run the command against the manager."""
    return cli.main(
        [
            words[0],
            *words[1:],
            "--runtime-dir",
            str(served.folder / "r"),
            "--state-dir",
            str(served.folder / "s"),
        ]
    )


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command printed, as JSON."""
    return msgspec.json.decode(capsys.readouterr().out)


def test_status_is_told_by_text_json_and_code(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Each state has its exit code; the JSON has every field."""
    assert duende(served, "status", "d") == exits.NOT_RUNNING
    assert "Created" in capsys.readouterr().out
    assert duende(served, "start", "d") == exits.OK
    capsys.readouterr()
    assert duende(served, "status", "d", "--json") == exits.OK
    view = answer(capsys)["result"]
    assert (view["name"], view["status"], view["wanted"]) == ("d", "Running", "up")
    assert view["pid"] >= 1000
    assert duende(served, "signal", "STOP", "d") == exits.OK
    assert duende(served, "status", "d") == exits.CHANGING
    assert duende(served, "signal", "sigcont", "d") == exits.OK
    supervisor = served.manager.find("d")
    assert supervisor is not None
    supervisor.health = HealthStatus.unhealthy("ill")
    assert duende(served, "status", "d") == exits.UNHEALTHY
    assert "ill" in capsys.readouterr().out


def test_the_usual_day(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Start, list, restart, stop with its certificate, events, forget."""
    assert duende(served, "start", "d") == exits.OK
    assert duende(served, "ps") == exits.OK
    text = capsys.readouterr().out
    assert "NAME" in text
    assert "other" in text
    assert duende(served, "restart", "d", "--json") == exits.OK
    answer(capsys)
    assert duende(served, "stop", "d") == exits.OK
    assert "proof: " in capsys.readouterr().out
    assert duende(served, "events", "-n", "50") == exits.OK
    assert "stopped" in capsys.readouterr().out
    assert duende(served, "forget", "d") == exits.OK
    assert duende(served, "status", "d") == exits.NOT_FOUND
    assert "there is no daemon 'd'" in capsys.readouterr().err


def test_errors_have_codes_and_remedies(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """A second start, an unknown signal, an unknown operation and output nobody keeps are errors with advice."""
    duende(served, "start", "d")
    capsys.readouterr()
    assert duende(served, "start", "d") == exits.FAILED
    assert "stop or restart" in capsys.readouterr().err
    assert duende(served, "signal", "SEGV", "d") == exits.FAILED
    assert duende(served, "logs", "d") == exits.FAILED
    assert duende(served, "stop", "nobody", "--json") == exits.NOT_FOUND
    assert answer(capsys)["error"]["kind"] == "NotFoundError"
    with ManagerClient(str(served.folder / "r")) as client, pytest.raises(RemoteError, match="fly"):
        client.ask("fly")


def test_no_manager_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a manager the command says how to start one; an unusable socket is another error."""
    assert cli.main(["ps", "--runtime-dir", str(tmp_path)]) == exits.NOT_FOUND
    assert "duende manager" in capsys.readouterr().err
    with pytest.raises(NotFoundError):
        ManagerClient(str(tmp_path))
    with pytest.raises(PlatformIOError):
        ManagerClient(str(tmp_path / ("x" * 200)))


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Help, version and mistakes have their codes."""
    assert cli.main(["--version"]) == exits.OK
    assert cli.main([]) == exits.USAGE
    assert cli.main(["--help"]) == exits.OK
    assert "exit codes" in capsys.readouterr().out
    assert cli.main(["no-such-verb"]) == exits.USAGE
    assert cli.main(["manager", "--help"]) == exits.OK
    assert cli.main(["run", "--no-such-option"]) == 64


def test_validate_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mistake of every file is printed, in text and in JSON."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('name = "a"\nbinary_path = "/bin/true"\n')
    bad.write_text('name = "b"\nbinary_pth = "/bin/true"\ncount = 0\n')
    assert cli.main(["validate", str(good)]) == exits.OK
    assert "a is valid" in capsys.readouterr().out
    assert cli.main(["validate", str(good), str(bad)]) == exits.FAILED
    assert "bad.toml:2" in capsys.readouterr().err
    assert cli.main(["validate", str(bad), str(tmp_path / "none.toml"), "--json"]) == exits.FAILED
    assert [entry["ok"] for entry in answer(capsys)["result"]] == [False, False]


def test_files_are_loaded_changed_and_isolated(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Start FILE registers and starts; an unchanged daemon is left alone, a changed one restarted once, a broken one reported."""
    fleet = tmp_path / "fleet.toml"
    head = '[defaults]\nbinary_path = "/fake"\nreadiness = {kind = "none", settle = 0.0}\n'
    fleet.write_text(head + '[[daemon]]\nname = "one"\n[[daemon]]\nname = "two"\ncount = 2\n')
    assert duende(served, "start", str(fleet)) == exits.OK
    assert served.adapter.starts == ["one", "two-0", "two-1"]
    fleet.write_text(
        head
        + '[[daemon]]\nname = "one"\ndescription = "new"\n[[daemon]]\nname = "two"\ncount = 2\n[[daemon]]\nname = "-"\n'
    )
    capsys.readouterr()
    assert duende(served, "start", str(fleet)) == exits.FAILED
    assert "starts with '-'" in capsys.readouterr().err
    assert served.adapter.starts == ["one", "two-0", "two-1", "one"]
    fleet.write_text("nonsense = 1\n")
    assert duende(served, "start", str(fleet), "--json") == exits.FAILED
    assert answer(capsys)["ok"] is False


def test_shutdown_proves_and_ends(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Shutdown stops all, prints the certificates, and ends the manager."""
    duende(served, "start", "d")
    capsys.readouterr()
    assert duende(served, "shutdown", "--json") == exits.OK
    assert all(one["proven"] for one in answer(capsys)["result"])
    served.thread.join(DEADLINE)
    assert not served.thread.is_alive()
    assert served.adapter.alive == 0


def test_events_are_followed(served: Served) -> None:
    """A follower gets what happened and then what happens."""
    with (
        ManagerClient(str(served.folder / "r")) as follower,
        ManagerClient(str(served.folder / "r")) as other,
    ):
        events = follower.events(5)
        other.ask("start", name="d")
        assert next(events)["kind"] in ("starting", "running")
        assert other.ask("ping")["pid"] > 1


def test_nonsense_on_the_socket_harms_nobody(served: Served) -> None:
    """Garbage is answered with an error, an endless line is cut off, and the next client is served."""
    path = str(served.folder / "r" / "control.sock")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(path)
        raw.sendall(b"garbage\n\n")
        assert b"cannot read the request" in raw.recv(4096)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(path)
        try:
            for _ in range(40):
                raw.sendall(b"x" * 65536)
            assert raw.recv(1) == b""
        except OSError:
            pass  # cut off while sending
    with ManagerClient(str(served.folder / "r")) as client:
        assert client.ask("status", name="other")["description"] == "the other one"
        with pytest.raises(RemoteError):
            client.ask("status", name="nobody")


def test_a_second_control_socket_is_refused(served: Served, tmp_path: Path) -> None:
    """The socket of a living manager is not taken over, a path too long for one is an error."""

    async def nothing() -> None:
        """No shutdown."""

    async def body() -> None:
        with pytest.raises(AlreadyRunningError):
            await Control(served.manager, nothing).open()
        long = DaemonManager(
            adapter=FakeAdapter(), state_dir=str(tmp_path), runtime_dir=str(tmp_path / ("y" * 120))
        )
        with pytest.raises((DaemonIOError, OSError)):
            await Control(long, nothing).open()

    run(body())


def test_answers_that_are_none(tmp_path: Path) -> None:
    """A server that talks nonsense or hangs up is a clear error in the client."""
    for reply, error in ((b"nonsense\n", SerializationError), (b"", PlatformIOError)):
        path = tmp_path / "control.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()

            def talk(server: socket.socket = server, reply: bytes = reply) -> None:
                connection, _ = server.accept()
                connection.recv(100)
                connection.sendall(reply)
                connection.close()

            thread = threading.Thread(target=talk)
            thread.start()
            with ManagerClient(str(tmp_path)) as client, pytest.raises(error):
                client.ask("ping")
            thread.join(DEADLINE)
        path.unlink()


def test_ages_and_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are short, tables are aligned, colour only where it is wanted."""
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    ages = [output.age(1_000_000.0 - seconds) for seconds in (0, 59, 61, 3700, 90_000)]
    assert ages == ["0s", "59s", "1m1s", "1h1m", "1d1h"]
    assert output.age(None) == "-"
    output.table(("A", "B"), [("x", "y"), ("longer", "z")])
    assert capsys.readouterr().out.splitlines() == ["A       B", "x       y", "longer  z"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.coloured("Failed", "Failed") == "\x1b[31mFailed\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.coloured("Failed", "Failed") == "Failed"


def test_settings_are_explained(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Each setting with what was found; a daemon that does not run cannot be explained."""
    assert duende(served, "explain", "d") == exits.FAILED
    assert "start it first" in capsys.readouterr().err
    assert duende(served, "start", "d") == exits.OK
    capsys.readouterr()
    assert duende(served, "explain", "d") == exits.OK
    assert "honoured" in capsys.readouterr().out
    assert duende(served, "explain", "d", "--json") == exits.OK
    (entry,) = msgspec.json.decode(capsys.readouterr().out)["result"]
    assert entry["key"] == "resources.memory_bytes"
    assert duende(served, "explain", "nobody") == exits.NOT_FOUND


PLAIN = [
    [],
    ["fleet.toml"],
    ["fleet.toml", "--foreground", "--no-keep"],
    ["--state-dir", "/s", "--runtime-dir=/r", "fleet.toml", "--notify-fd", "3"],
    ["--state-dir=/s=t", "--json"],
    ["fleet.toml", "--monitor", "5s", "--metrics-listen=127.0.0.1:0"],
]
LEFT_TO_THE_GRAMMAR = [
    ["-h"],
    ["one", "two"],
    ["--state-dir"],
    ["--state-dir", "--foreground"],
    ["--state-dir="],
    ["--notify-fd", "three"],
    ["--adapter", "docker"],
    ["--monitor", "--no-keep"],
    ["--runtime", "/r"],
    [""],
    ["--", "fleet.toml"],
]


@pytest.mark.parametrize("words", PLAIN)
def test_a_plain_command_line_of_a_manager_means_what_the_grammar_says(words: list[str]) -> None:
    """The quick reading and the grammar give the same options."""
    quick = plainly(words)
    read = parser().parse_args(["manager", *words])
    assert quick is not None
    assert (quick.fleet, quick.keep, quick.notify_fd, quick.adapter) == (
        read.fleet,
        not read.no_keep,
        read.notify_fd,
        read.adapter,
    )
    assert (quick.state_dir, quick.runtime_dir) == (read.state_dir, read.runtime_dir)
    assert (quick.monitor, quick.listen) == (read.monitor or "", read.metrics_listen or "")


@pytest.mark.parametrize("words", LEFT_TO_THE_GRAMMAR)
def test_what_is_not_plain_is_left_to_the_grammar(words: list[str]) -> None:
    """Abbreviations, help and mistakes are for the grammar, which explains them."""
    assert plainly(words) is None
