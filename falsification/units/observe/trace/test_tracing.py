"""The tracer on real programs, by every method this user may take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from duende.cli.tracing import show
from duende.errors import TracerFailedError
from duende.observe.trace import Tracer, attach, instance, tracer
from duende.observe.trace.instance import Instance, started, sweep, tracefs
from duende.observe.trace.source import sites
from duende.observe.trace.strace import Strace

ASKS = """
import os, sys, threading
def asks(times):
    for _ in range(times):
        os.getppid()
for line in sys.stdin:
    asks(50)
    other = threading.Thread(target=asks, args=(30,))
    other.start()
    other.join()
    if os.fork() == 0:
        asks(20)
        os._exit(0)
    os.wait()
    print("done", flush=True)
"""


def allowed() -> bool:
    """Whether this user may trace in the kernel."""
    try:
        root = tracefs()
    except OSError:
        return False
    os.close(root)
    return True


IN_KERNEL = pytest.mark.skipif(not allowed(), reason="tracing in the kernel needs CAP_SYS_ADMIN and tracefs")


@pytest.fixture
def asking() -> Iterator[subprocess.Popen[bytes]]:
    """A program that makes a hundred calls when asked."""
    process = subprocess.Popen([sys.executable, "-c", ASKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def ask(process: subprocess.Popen[bytes]) -> None:
    """Make it work, and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"done\n"


def instances() -> list[str]:
    """Instances of the kernel's tracer that are ours."""
    root = tracefs()
    folder = os.open("instances", os.O_RDONLY, dir_fd=root)
    try:
        return [name for name in os.listdir(folder) if name.startswith(f"duende-{os.getpid()}-")]
    finally:
        os.close(folder)
        os.close(root)


@pytest.mark.parametrize("method", [pytest.param("tracefs", marks=IN_KERNEL), "strace"])
def test_every_call_is_seen(
    asking: subprocess.Popen[bytes], method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its threads, and of what it starts; and nothing stays behind."""
    ask(asking)
    with attach(asking.pid, method=method) as tracing:
        assert tracing.method == method
        ask(asking)
        ask(asking)
    report = tracing.detach()
    counts = {each.name: each.count for each in report.latencies}
    assert counts["getppid"] == 200
    assert report.lost == 0
    assert report.seconds > 0
    assert Path(f"/proc/{asking.pid}/status").read_text().count("TracerPid:\t0") == 1
    ask(asking)
    if method == "tracefs":
        assert instances() == []
    show(report, [])
    assert "getppid" in capsys.readouterr().out


@IN_KERNEL
def test_a_killed_tracer_leaves_no_instance(asking: subprocess.Popen[bytes]) -> None:
    """Its guard sees to it."""
    text = (
        "import sys\nfrom duende.observe.trace import attach\n"
        "tracing = attach(int(sys.argv[1]), method='tracefs')\nprint(tracing._source.name, flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, str(asking.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    name = process.stdout.readline().decode().strip()
    process.kill()
    process.communicate()
    until(lambda: not _exists(name))
    ask(asking)


@IN_KERNEL
def test_a_killed_guard_too() -> None:
    """The next tracer sweeps."""
    root = tracefs()
    try:
        os.mkdir("instances/duende-999999999-5-1", dir_fd=root)
        mine = f"duende-{os.getpid()}-{started(os.getpid())}-99"
        os.mkdir(f"instances/{mine}", dir_fd=root)
        assert "duende-999999999-5-1" in sweep(root)
        assert _exists(mine)
        os.rmdir(f"instances/{mine}", dir_fd=root)
    finally:
        os.close(root)


def until(condition: Callable[[], bool]) -> None:
    """Wait up to ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _exists(name: str) -> bool:
    root = tracefs()
    try:
        os.stat(f"instances/{name}", dir_fd=root)
        return True
    except FileNotFoundError:
        return False
    finally:
        os.close(root)


def test_the_reason_and_the_remedy(asking: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user who may not trace in the kernel; strace then does it, or says why it cannot either."""

    def refused() -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(instance, "tracefs", refused)
    with pytest.raises(TracerFailedError, match="CAP_SYS_ADMIN"):
        attach(asking.pid, method="tracefs")
    with attach(asking.pid) as tracing:
        assert tracing.method == "strace"
        assert "cannot be mounted" in tracing.instead
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(TracerFailedError, match="strace is not installed") as caught:
        attach(asking.pid)
    assert "cannot be mounted" in caught.value.problem
    assert "install" in caught.value.remedy


def test_what_cannot_be_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is gone, none at all, a method there is not, one that another tracer has."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(TracerFailedError, match="no process"):
        attach(gone.pid)
    with pytest.raises(TracerFailedError, match="no process"):
        attach(1)
    with pytest.raises(TracerFailedError, match="no process to trace"):
        Tracer([])
    with pytest.raises(TracerFailedError, match="no method 'magic'"):
        Tracer([os.getpid()], method="magic")
    with pytest.raises(TracerFailedError, match="ptrace_scope"):
        Strace([gone.pid])
    monkeypatch.setattr(Instance, "proven", lambda _: False)
    if allowed():
        with pytest.raises(TracerFailedError, match="another number"):
            Tracer([os.getpid()], method="tracefs")
        assert instances() == []


def test_tracing_that_breaks_off(asking: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told when it is ended, with its cause."""

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(tracer.Tracer, "_take", broken)
    tracing = attach(asking.pid)
    with pytest.raises(TracerFailedError, match="broke off: broken"):
        tracing.detach()


def test_lines_of_source(tmp_path: Path) -> None:
    """Of a Python program; another tracer on it is told with the remedy."""
    script = tmp_path / "works.py"
    script.write_text(
        "import os, time\nprint('runs', flush=True)\nwhile True:\n    os.getppid()\n    time.sleep(0.005)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"runs\n"
        found = sites(process.pid, 5.0, [110], 2)
        assert {(each.call, each.place.line if each.place else 0) for each in found} == {("getppid", 4)}
        with attach(process.pid, method="strace"), pytest.raises(TracerFailedError, match="no other tracer"):
            sites(process.pid, 0.5)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with pytest.raises(TracerFailedError, match="no process"):
        sites(process.pid, 0.5)
