"""What a scenario injects is undone, also when the scenario is killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from fixtures import procs
from fixtures.daemons import command
from fixtures.lease import Reaper
from scenarios.look import state_of

SOON = 10_000
"""Milliseconds. It takes a few; the machine may be busy."""
VICTIM = """
import subprocess, sys
from fixtures.lease import Reaper
held = Reaper()
daemon = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, start_new_session=True)
daemon.stdout.readline()
held.lease_process("kill", daemon.pid)
marked = subprocess.Popen(sys.argv[2:], env=held.environment, stdout=subprocess.PIPE, start_new_session=True)
marked.stdout.readline()
held.lease("remove", path=sys.argv[1])
held.lease("write", path=sys.argv[1] + ".limit", text="back to normal")
print(daemon.pid, marked.pid, held.pid, flush=True)
sys.stdin.read()
"""


def ends(fd: int) -> bool:
    """Whether the process of a pidfd ends soon."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(SOON))


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """One of the tiny daemons, ready."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> None:
    """End it whatever happened."""
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_killed_scenario_leaves_nothing(tmp_path: Path) -> None:
    """When a scenario is killed, everything leased is undone: processes, marks, files, folders."""
    folder = tmp_path / "mess"
    folder.mkdir()
    (folder / "file").write_text("x")
    line = [sys.executable, "-c", VICTIM, str(folder), *command("stubborn")]
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    ) as scenario:
        assert scenario.stdout is not None
        pids = [int(word) for word in scenario.stdout.readline().split()]
        held = [os.pidfd_open(pid) for pid in pids]
        try:
            scenario.send_signal(signal.SIGKILL)
            assert all(ends(fd) for fd in held)
        finally:
            for fd in held:
                os.close(fd)
    assert not folder.exists()
    assert folder.with_name("mess.limit").read_text() == "back to normal"


def test_healing_is_the_undoing_asked_for() -> None:
    """A stopped process is continued by undoing its lease, and undoing twice is harmless."""
    daemon = started(*command("obedient"))
    try:
        with Reaper() as held:
            lease = held.lease_process("cont", daemon.pid)
            daemon.send_signal(signal.SIGSTOP)
            os.waitpid(daemon.pid, os.WUNTRACED)
            assert state_of(daemon.pid) == "T"
            assert lease.undo() == f"cont {daemon.pid}"
            assert state_of(daemon.pid) != "T"
            lease.undo()
    finally:
        finish(daemon)


def test_another_process_with_the_number_is_spared() -> None:
    """A lease is about the process that was born then, not about whoever has its number."""
    daemon = started(*command("obedient"))
    try:
        born = procs.start_time(daemon.pid)
        assert not procs.send(daemon.pid, born + 1, signal.SIGKILL)
        assert daemon.poll() is None
        assert procs.send(daemon.pid, born, signal.SIGKILL)
        assert daemon.wait(SOON / 1000) == -signal.SIGKILL
    finally:
        finish(daemon)


def test_low_numbers_are_never_signalled() -> None:
    """Numbers with another meaning for kill(2) are refused."""
    for pid in (-1, 0, 1):
        assert not procs.send(pid, 0, 0)


def test_released_leases_are_not_undone() -> None:
    """What was released stays as it is after the farewell."""
    daemon = started(*command("obedient"))
    try:
        with Reaper() as held:
            held.lease_process("kill", daemon.pid).release()
        assert daemon.poll() is None
    finally:
        finish(daemon)


def test_survivors_are_found_by_their_mark() -> None:
    """Whatever inherited the mark is found, also a child of a child."""
    with Reaper() as held:
        daemon = subprocess.Popen(command("stormer", 2), stdout=subprocess.PIPE, env=held.environment)
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ready\n"
        assert len(held.survivors()) == 3
        assert daemon.pid in held.survivors()
    assert daemon.wait(SOON / 1000) == -signal.SIGKILL
    daemon.stdout.close()
    assert procs.marked(held.token) == []
