"""`duende run` as a process: real signals, real files, real exit codes."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest

from duende import __version__
from duende.host import exitcodes, main, preloaded
from duende.host.lifecycle import EARLY
from falsification.units.support import DEADLINE

ROOT = str(Path(__file__).resolve().parents[3])
RUN = "import sys; from duende.host.main import main; sys.exit(main(sys.argv[1:]))"
PROGRAM = """
import asyncio, os, sys
import duende
from duende import Daemon, ExitReason, Signal

print("imported", flush=True)

class Quiet(Daemon):
    name = "quiet"
    async def run(self, ctx):
        print("running", *sys.argv[1:], flush=True)
        async for signal in ctx.signals():
            print("got", signal.value, flush=True)
        return ExitReason.graceful()
    async def reload(self, config):
        print("level", config.settings.get("level"), flush=True)

class Signalled(Quiet):
    async def run(self, ctx):
        await ctx.wait_shutdown()
        return ExitReason.by_signal(ctx.try_recv_signal())

class Brief(Daemon):
    async def run(self, ctx):
        return ExitReason.graceful()

class Needy(Brief):
    def __init__(self, x):
        self.x = x

class SlowStart(Quiet):
    name = "slow"

class Late(Quiet):
    async def shutdown(self, timeout):
        await asyncio.sleep(3600)
"""
SLOW_IMPORT = """
import os, sys
print("importing", flush=True)
sys.stdin.readline()
from duende import Daemon, ExitReason
class Slow(Daemon):
    async def run(self, ctx):
        print("running", flush=True)
        async for signal in ctx.signals():
            print("got", signal.value, flush=True)
"""


class Started:
    """A `duende run` of this test, with a notify socket to know when it is ready; killed when the test leaves
    it.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(folder / "notify")
        self.notify.bind(path)
        self.notify.settimeout(DEADLINE)
        environ = {**os.environ, "NOTIFY_SOCKET": path, "PYTHONPATH": ROOT}
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            env=environ,
            cwd=folder,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def heard(self, assignment: str) -> str:
        """Wait for an assignment that starts so."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            found = self.notify.recv(4096).decode()
            if found.startswith(assignment):
                return found
        raise AssertionError(f"{assignment} never came")

    def line(self) -> str:
        """The next line of output."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        """Signal the child, which is ours and not yet waited for."""
        self.child.send_signal(number)

    def ended(self) -> tuple[int, str, str]:
        """Exit code, rest of output, errors."""
        out, err = self.child.communicate(timeout=DEADLINE)
        return self.child.returncode, out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()
        self.notify.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a program of daemons."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "slow_import.py").write_text(SLOW_IMPORT)
    return tmp_path


@pytest.fixture
def process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives back what running a host in this process changes: signals, collection, argv, paths, modules."""
    handlers = {
        number: signal.getsignal(number)
        for number in (*EARLY, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCONT)
    }
    monkeypatch.setattr(sys, "argv", ["test"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_shutdown_signals_end_it_gracefully(number: signal.Signals, folder: Path) -> None:
    """TERM, INT and QUIT each end a ready daemon with exit code 0, and its PID file and socket are gone."""
    pid_file, sock = folder / "pid", folder / "sock"
    with Started(folder, "program.py:Quiet", "--pid-file", str(pid_file), f"--socket={sock}") as run:
        run.heard("READY=1")
        assert pid_file.read_text() == f"{run.child.pid}\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(sock))
            client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            raw = b"".join(iter(lambda: client.recv(4096), b""))
        assert json.loads(raw.partition(b"\r\n\r\n")[2])["pid"] == run.child.pid
        run.send(number)
        code, out, err = run.ended()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"got {number.name.removeprefix('SIG')}"
    assert not pid_file.exists()
    assert not sock.exists()


def test_a_burst_of_signals_arrives_in_order(folder: Path) -> None:
    """Signals sent one by one, each seen before the next, all arrive; none ends the daemon but TERM."""
    with Started(folder, "program.py:Quiet") as run:
        run.heard("READY=1")
        assert [run.line(), run.line()] == ["imported", "running"]
        for _ in range(10):
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
                run.send(number)
                assert run.line() == f"got {number.name.removeprefix('SIG')}"
        run.send(signal.SIGTERM)
        assert run.ended()[0] == 0


def test_early_signals_wait_for_the_host(folder: Path) -> None:
    """HUP, USR1 and USR2 during the import neither end the process nor are lost."""
    with Started(folder, "slow_import.py:Slow") as run:
        assert run.line() == "importing"
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            run.send(number)
        assert run.child.stdin is not None
        run.child.stdin.write("go\n")
        run.child.stdin.flush()
        run.heard("READY=1")
        assert run.line() == "running"
        assert sorted(run.line() for _ in range(3)) == ["got HUP", "got USR1", "got USR2"]
        run.send(signal.SIGTERM)
        assert run.ended()[0] == 0


def test_hup_takes_the_new_file(folder: Path) -> None:
    """F010 through a real signal: the new settings are in force, a broken file changes nothing, TERM still
    ends it.
    """
    path = folder / "web.toml"
    path.write_text("[settings]\nlevel = 1\n")
    with Started(folder, "program.py:Quiet", "--config", str(path)) as run:
        run.heard("READY=1")
        path.write_text("[settings]\nlevel = 2\n")
        run.send(signal.SIGHUP)
        run.heard("STATUS=reloaded")
        path.write_text("[settings\n")
        run.send(signal.SIGHUP)
        assert "not TOML" in run.heard("STATUS=reload refused")
        run.send(signal.SIGTERM)
        code, out, err = run.ended()
    assert code == 0
    assert "level 2" in out
    assert "the old configuration stays" in err


def test_a_stop_is_measured(folder: Path) -> None:
    """F107 on a real process: time between STOP and CONT is not uptime; the metrics say how much it was."""
    sock = folder / "sock"
    with Started(folder, "program.py:Quiet", "--socket", str(sock)) as run:
        run.heard("READY=1")
        run.send(signal.SIGSTOP)
        os.waitid(os.P_PID, run.child.pid, os.WSTOPPED | os.WNOWAIT)
        began = time.monotonic()
        # Being stopped is what is measured, so this waits for time to pass and for nothing else.
        run.notify.settimeout(1.5)
        with pytest.raises(TimeoutError):
            run.notify.recv(4096)
        run.send(signal.SIGCONT)
        stopped = time.monotonic() - began
        assert [run.line() for _ in range(3)][-1] == "got CONT"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(sock))
            client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            raw = b"".join(iter(lambda: client.recv(4096), b""))
        metrics = json.loads(raw.partition(b"\r\n\r\n")[2])["metrics"]
        assert metrics["paused_secs"] == pytest.approx(stopped, abs=0.6)
        run.send(signal.SIGTERM)
        assert run.ended()[0] == 0


def test_a_second_start_is_refused(folder: Path) -> None:
    """F014: the second process leaves with its own code and names the first; the first goes on."""
    with Started(folder, "program.py:Quiet", "--pid-file", "pid") as run:
        run.heard("READY=1")
        words = [sys.executable, "-c", RUN, "program.py:Quiet", "--pid-file", "pid"]
        second = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert second.returncode == exitcodes.ALREADY_RUNNING
        assert f"pid {run.child.pid}" in second.stderr
        assert (folder / "pid").read_text() == f"{run.child.pid}\n"
        run.send(signal.SIGTERM)
        assert run.ended()[0] == 0


def test_ends_by_signal_and_late_ends(folder: Path) -> None:
    """by_signal leaves with 128+n; a shutdown beyond its deadline has a code of its own, whatever else is
    sent.
    """
    with Started(folder, "program.py:Signalled") as run:
        run.heard("READY=1")
        run.send(signal.SIGINT)
        assert run.ended()[0] == 128 + signal.SIGINT
    config = '{"name": "late", "daemon": "program.py:Late", "shutdown_timeout": 0.2}'
    (folder / "notify").unlink()
    with Started(folder, "program.py:Late", "--config-json", config) as run:
        run.heard("READY=1")
        run.send(signal.SIGTERM)
        run.heard("STOPPING=1")
        run.send(signal.SIGTERM)
        code, _, err = run.ended()
    assert code == exitcodes.SHUTDOWN_TIMEOUT
    assert "shutdown() did not end within 0.2 s" in err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], exitcodes.USAGE, "TARGET is missing"),
        (["a:B", "c:D"], exitcodes.USAGE, "one TARGET only"),
        (["a:B", "--nonsense"], exitcodes.USAGE, "unknown option '--nonsense'"),
        (["a:B", "--name"], exitcodes.USAGE, "--name needs a value"),
        (["a:B", "--name="], exitcodes.USAGE, "--name needs a value"),
        (["a:B", "--name", "-x"], exitcodes.CONFIG, "starts with '-'"),
        (["a:B", "--config", "/no/such/file"], exitcodes.CONFIG, "ENOENT"),
        (["a:B", "--config-json", "{"], exitcodes.CONFIG, "handed over"),
        (["no_such_module:B"], exitcodes.TARGET, "no module 'no_such_module'"),
        (["program.py:Needy"], exitcodes.TARGET, "making it raised TypeError"),
        (["--config", "program.toml"], exitcodes.CONFIG, "no TARGET was given"),
        (["program.py:Brief"], exitcodes.OK, ""),
        (["program:Brief", "--name", "given"], exitcodes.OK, ""),
        (["--config", "brief.toml"], exitcodes.OK, ""),
        (["--help"], exitcodes.OK, ""),
    ],
)
def test_command_lines(
    words: list[str],
    code: int,
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    process_state: None,
) -> None:
    """Every wrong command line has its code and one clear sentence; right ones run."""
    monkeypatch.chdir(folder)
    (folder / "program.toml").write_text("name = 'x'\nbinary_path = '/bin/true'\n")
    (folder / "brief.toml").write_text("name = 'x'\ndaemon = 'program.py:Brief'\n")
    assert main.main(words) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert bool(captured.err) == bool(text)
    if words == ["--help"]:
        for number in vars(exitcodes).values():
            if isinstance(number, int) and number not in (0, 128):
                assert str(number) in captured.out


def test_the_preloaded_child_runs_the_same_host(
    folder: Path, capsys: pytest.CaptureFixture[str], process_state: None
) -> None:
    """run_preloaded imports from the path it is given, with the configuration's arguments; a broken one is
    refused.
    """
    config = msgspec.json.encode({"name": "x", "daemon": "program:Brief", "args": ["one"]})
    spec = {
        "target": "program:Brief",
        "config": config,
        "path": str(folder),
        "source": str(folder / "none.toml"),
    }
    assert preloaded.run_preloaded(spec) == exitcodes.OK
    assert sys.argv == ["program:Brief", "one"]
    assert gc.isenabled()
    assert preloaded.run_preloaded({"target": "x:Y", "config": b"{"}) == exitcodes.CONFIG
    assert "handed over" in capsys.readouterr().err


def test_run_leaves_the_process(process_state: None) -> None:
    """duende.run ends in SystemExit with the exit code, which a script passes on."""
    import duende
    from falsification.units.support import Obedient

    class Brief(Obedient):
        """Ends at once."""

        async def run(self, _: duende.DaemonContext) -> duende.ExitReason:
            return duende.ExitReason.error("done")

    with pytest.raises(SystemExit) as caught:
        duende.run(Brief())
    assert caught.value.code == exitcodes.ERROR
    assert __version__
