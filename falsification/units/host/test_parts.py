"""The parts of the host: PID file, readiness, finding the class."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

from duende import AlreadyRunningError, ConfigError, Daemon, DaemonIOError
from duende.examples.daemon import CounterDaemon
from duende.host.notify import Notifier, watchdog_interval
from duende.host.pidfile import PidFile
from duende.host.target import import_root, make, resolve, target_of
from falsification.units.support import Obedient


def test_a_pid_file_is_held_by_one(tmp_path: Path) -> None:
    """F012-F014: it holds the PID, a second taker is refused with that PID, and letting go removes it."""
    path = tmp_path / "web.pid"
    first, second = PidFile(str(path)), PidFile(str(path))
    first.take()
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}"):
        second.take()
    assert path.exists()
    second.release()
    first.release()
    assert not path.exists()
    first.release()
    second.take()
    second.release()


def test_a_stale_pid_file_is_taken_over(tmp_path: Path) -> None:
    """A file nobody holds counts for nothing, however long its content."""
    path = tmp_path / "web.pid"
    path.write_text("123456789 and more\n")
    taken = PidFile(str(path))
    taken.take()
    assert path.read_text() == f"{os.getpid()}\n"
    taken.release()


def test_a_pid_file_of_another_is_not_removed(tmp_path: Path) -> None:
    """When somebody removed or replaced the file, letting go leaves theirs alone."""
    path = tmp_path / "web.pid"
    taken = PidFile(str(path))
    taken.take()
    path.unlink()
    other = tmp_path / "other"
    other.write_text("theirs")
    other.rename(path)
    taken.release()
    assert path.read_text() == "theirs"
    path.unlink()
    taken.take()
    path.unlink()
    taken.release()


def test_a_pid_file_that_changes_hands_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner may remove the file between open and lock; the next try finds the new one, and tries are
    bounded.
    """
    path = tmp_path / "web.pid"
    real, removals = fcntl.flock, [2, 99]

    def flock(fd: int, operation: int) -> None:
        real(fd, operation)
        if removals[0]:
            removals[0] -= 1
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    taken = PidFile(str(path))
    taken.take()
    taken.release()
    removals[0] = removals[1]
    with pytest.raises(AlreadyRunningError, match="changes hands"):
        taken.take()


def test_unusable_pid_files(tmp_path: Path) -> None:
    """A missing folder, a folder in its place and a symbolic link are clear errors with their number."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for path, number in (
        (tmp_path / "no" / "x", errno.ENOENT),
        (tmp_path, errno.EISDIR),
        (link, errno.ELOOP),
    ):
        with pytest.raises(DaemonIOError, match="cannot write the PID file") as caught:
            PidFile(str(path)).take()
        assert caught.value.errno == number
        assert caught.value.filename == str(path)
    assert not (tmp_path / "target").exists()


def test_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the PID cannot be written the error says so and nothing stays held."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = str(tmp_path / "web.pid")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DaemonIOError, match="No space"):
            PidFile(path).take()
    taken = PidFile(path)
    taken.take()
    taken.release()


@pytest.mark.parametrize("abstract", [False, True])
def test_notifications_arrive(tmp_path: Path, abstract: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assignments reach the socket of the environment, which children do not inherit."""
    path = f"@duende-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + path[1:] if abstract else path)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notifier = Notifier.from_environment()
        assert "NOTIFY_SOCKET" not in os.environ
        notifier.send("READY=1")
        assert listener.recv(100) == b"READY=1"
        notifier.reloading()
        head, _, stamp = listener.recv(100).partition(b"\n")
        assert head == b"RELOADING=1"
        assert int(stamp.removeprefix(b"MONOTONIC_USEC=")) > 0
    notifier.send("STATUS=nobody listens")
    notifier.close()
    notifier.close()


def test_a_supervisor_that_does_not_read_blocks_nobody(tmp_path: Path) -> None:
    """A full queue loses messages instead of stopping the daemon."""
    path = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        notifier = Notifier(path)
        for _ in range(2000):
            notifier.send("STATUS=" + "x" * 500)
        notifier.close()
    Notifier(None).send("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("2000000", "", 1.0),
        ("2000000", "me", 1.0),
        ("2000000", "1", None),
        ("x", "", None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_asked_for_by_pid(
    usec: str | None, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the interval of $WATCHDOG_USEC, if it is meant for this process."""
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == seconds


PROGRAM = """
from duende import Daemon
class Good(Daemon):
    async def run(self, ctx): ...
    class Inner(Daemon):
        async def run(self, ctx): ...
class Abstract(Daemon): ...
class Needy(Good):
    def __init__(self, x): ...
number = 3
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with daemons, good and bad."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    path = tmp_path / "some_program.py"
    path.write_text(PROGRAM)
    return path


def test_classes_are_found(program: Path) -> None:
    """By module, by file, also inside a class; the way back names the same class."""
    assert resolve("duende.examples.daemon:CounterDaemon") is CounterDaemon
    assert target_of(CounterDaemon()) == "duende.examples.daemon:CounterDaemon"
    found = resolve(f"{program}:Good")
    assert found.__name__ == "Good"
    assert resolve(f"{program}:Good.Inner").__qualname__ == "Good.Inner"
    assert target_of(found) == "some_program:Good"
    assert import_root(found) == str(program.parent)
    assert import_root(CounterDaemon) == str(Path(import_root(CounterDaemon)))
    assert isinstance(make(found), found)
    one = Obedient()
    assert make(one) is one


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("nonsense", "not of the form"),
        (":Class", "not of the form"),
        ("no_such_module_here:X", "no module 'no_such_module_here'"),
        ("duende.nothing:X", "no module 'duende.nothing'"),
        ("duende.examples.daemon:Nothing", "its daemons: CounterDaemon"),
        ("os:getpid", "no subclass"),
        ("/no/such/file.py:X", "no file"),
        ("FILE:Abstract", "it has no run"),
        ("FILE:number", "no subclass"),
        ("FILE:Nothing", "has no Nothing"),
    ],
)
def test_classes_that_cannot_run(target: str, text: str, program: Path) -> None:
    """Each way to be wrong has its own sentence, which names the target."""
    target = target.replace("FILE", str(program))
    with pytest.raises(ConfigError, match="cannot run") as caught:
        resolve(target)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "line", ["raise RuntimeError('boom')", "import not_installed_here", "raise SystemExit(3)", "def ("]
)
def test_programs_that_cannot_be_imported(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that raises, exits, needs something or is no Python is told as that, by file or module."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "broken_program.py").write_text(line)
    for target in (f"{tmp_path}/broken_program.py:X", "broken_program:X"):
        sys.modules.pop("broken_program", None)
        with pytest.raises(ConfigError, match="cannot run"):
            resolve(target)


def test_a_constructor_that_wants_more(program: Path) -> None:
    """A class that cannot be made without arguments is refused in words."""
    with pytest.raises(ConfigError, match="making it raised TypeError"):
        make(resolve(f"{program}:Needy"))
    with pytest.raises(ConfigError, match="it has no run"):
        make(resolve(f"{program}:Good").__mro__[1])


def test_classes_that_cannot_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local classes and those typed into an interpreter are refused; those of a script travel by its path."""

    class Local(Obedient):
        """Local to this test."""

    with pytest.raises(ConfigError, match="local to a function"):
        target_of(Local)
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    typed = type("Typed", (Obedient,), {"__module__": "__main__", "__qualname__": "Typed"})
    with pytest.raises(ConfigError, match="typed into an interpreter"):
        target_of(typed)
    main.__file__ = "/srv/counter.py"
    assert target_of(typed) == "/srv/counter.py:Typed"
    assert import_root(typed) == ""
    main.__spec__ = type("Spec", (), {"name": "pkg.counter"})()
    assert target_of(typed) == "pkg.counter:Typed"


def test_daemon_is_abstract() -> None:
    """The base class itself cannot run."""
    with pytest.raises(ConfigError, match="it has no run"):
        resolve("duende.daemon:Daemon")
    assert Daemon.announces_ready is False
