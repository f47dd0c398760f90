"""Every fault acts on a real process, proves it, and is gone afterwards, also when its owner is killed."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from duende.errors import InstanceNotFoundError, PlatformResourceError
from duende.kernel.process import children_of, read_stat, send_signal, start_time
from duende.testing.companions import Companion
from duende.testing.faults import (
    CpuStress,
    MemoryPressure,
    Pause,
    available_memory,
    cpu_seconds,
    group_files,
)
from falsification.units.support import DEADLINE, run

ROOT = Path(__file__).resolve().parents[3]
MEBIBYTE = 1024 * 1024
SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(120)"]


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that does nothing for a while."""
    with subprocess.Popen(SLEEPER) as process:
        yield process.pid
        process.kill()


def state(pid: int) -> str:
    """The letter of proc(5), or "" when it is gone."""
    found = read_stat(pid)
    return found.state if found is not None else ""


def wait_until(true: object) -> None:
    """Wait until the function *true* gives something true, within the deadline."""
    assert callable(true)
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, "did not come true in time"
        select.select([], [], [], 0.005)


def test_a_pause_stops_and_resumes(sleeper: int) -> None:
    """The process is stopped while the fault is on, and runs after it."""

    async def live() -> None:
        fault = Pause(lambda: sleeper)
        async with fault:
            effect = await fault.proof()
            assert (effect.took, effect.figure, effect.detail) == (True, float(sleeper), "state T")
            assert state(sleeper) == "T"
        assert state(sleeper) in ("S", "R")
        assert not (await fault.proof()).took, "a fault that is off must not claim an effect"
        assert await fault.undo()

    run(live())


def test_a_pause_is_undone_without_its_guard(sleeper: int) -> None:
    """Even when somebody kills the guard, undoing resumes the process."""

    async def live() -> None:
        fault = Pause(lambda: sleeper)
        await fault.start()
        guard = fault._guard
        assert guard is not None
        send_signal(guard.pid, signal.SIGKILL)
        assert await fault.undo()
        assert state(sleeper) in ("S", "R")

    run(live())


def test_no_stranger_is_paused(sleeper: int) -> None:
    """A process that is gone, and a number that belongs to somebody else by now, are refused."""

    async def live() -> None:
        with pytest.raises(InstanceNotFoundError, match="no process"):
            await Pause(lambda: 0).start()
        guard = await Companion.start("guard")
        try:
            assert (await guard.ask(f"stop {sleeper} {start_time(sleeper) + 1}")).startswith("error")
            assert (await guard.ask("stop 1 1")).startswith("error pid 1 is never")
            assert state(sleeper) != "T"
            assert (await guard.ask(f"stop {sleeper} {start_time(sleeper)}")) == "state T"
            assert (await guard.ask(f"cont {sleeper} {start_time(sleeper)}")) in ("state S", "state R")
        finally:
            assert await guard.close()

    run(live())


def test_memory_pressure_is_resident() -> None:
    """The bytes asked for are resident in the companion while the fault is on; afterwards the companion is gone."""

    async def live() -> None:
        fault = MemoryPressure(os.getpid, 24 * MEBIBYTE)
        async with fault:
            effect = await fault.proof()
            assert effect.took
            assert effect.figure >= 24 * MEBIBYTE
            assert fault._companion is not None
            pid = fault._companion.pid
        assert start_time(pid) == 0
        assert not (await fault.proof()).took

    run(live())


def test_the_machine_is_not_attacked() -> None:
    """More than half of what the machine has is refused before anything is taken."""

    async def live() -> None:
        fault = MemoryPressure(os.getpid, available_memory())
        with pytest.raises(PlatformResourceError, match="at most half"):
            await fault.start()

    run(live())


def test_cpu_stress_burns() -> None:
    """Companions get processor time of about the cores asked for, and are gone afterwards."""

    async def live() -> None:
        fault = CpuStress(0.5)
        async with fault:
            effect = await fault.proof()
            assert effect.took
            assert 0.05 < effect.figure < 0.95
            pids = [each.pid for each in fault._companions]
            assert len(pids) == 1
            assert cpu_seconds(pids[0]) > 0
        assert [start_time(pid) for pid in pids] == [0]
        assert cpu_seconds(pids[0]) == 0.0

    run(live())


def test_groups_are_only_those_of_others() -> None:
    """A process in our own groups has none to join; one that is gone has none at all."""
    assert group_files(os.getpid()) == []
    assert group_files(0) == []


@pytest.fixture
def group(sleeper: int) -> Iterator[Path]:
    """A control group of our own with the sleeper in it, where this user may make one."""
    top = next(
        (each for each in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if each.is_dir()), None
    )
    made = Path(f"{top}/duende-test-{os.getpid()}")
    try:
        made.mkdir()
        (made / "cgroup.procs").write_text(str(sleeper), encoding="ascii")
    except OSError as error:
        if made.is_dir():
            made.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield made
    send_signal(sleeper, signal.SIGKILL)  # our own unreaped child
    wait_until(lambda: not (made / "cgroup.procs").read_text(encoding="ascii").split())
    made.rmdir()


def test_memory_pressure_is_in_the_daemons_own_group(sleeper: int, group: Path) -> None:
    """The companion joins the control group of the daemon, where its limit is, and leaves it empty of itself."""

    async def live() -> None:
        fault = MemoryPressure(lambda: sleeper, 16 * MEBIBYTE)
        async with fault:
            effect = await fault.proof()
            assert effect.took
            assert str(group) in effect.detail
            inside = (group / "cgroup.procs").read_text(encoding="ascii").split()
            assert set(inside) == {str(sleeper), str(fault._companion.pid if fault._companion else 0)}
        assert (group / "cgroup.procs").read_text(encoding="ascii").split() == [str(sleeper)]

    run(live())


OWNER = """
import asyncio, os, sys
from duende.testing.faults import CpuStress, MemoryPressure, Pause

async def live():
    pid = int(sys.argv[2])
    faults = {"pause": Pause(lambda: pid), "memory": MemoryPressure(os.getpid, 1 << 24), "cpu": CpuStress(0.2)}
    fault = faults[sys.argv[1]]
    await fault.start()
    print("on", (await fault.proof()).took, flush=True)
    await asyncio.sleep(120)

asyncio.run(live())
"""


@pytest.mark.parametrize("kind", ["pause", "memory", "cpu"])
def test_a_killed_owner_leaves_nothing(kind: str, sleeper: int) -> None:
    """SIGKILL of the process that made the fault undoes it: the paused run on, the companions are gone."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, kind, str(sleeper)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            ready, _, _ = select.select([owner.stdout], [], [], DEADLINE)
            assert ready, "the owner did not make its fault in time"
            assert owner.stdout.readline() == "on True\n"
            companions = [(pid, start_time(pid)) for pid in children_of(owner.pid)]
            assert len(companions) == 1
            assert (state(sleeper) == "T") == (kind == "pause")
        finally:
            owner.kill()
    for pid, born in companions:
        wait_until(lambda pid=pid, born=born: start_time(pid) != born or state(pid) == "Z")
    wait_until(lambda: state(sleeper) in ("S", "R"))


def test_a_companion_that_is_killed_is_an_error() -> None:
    """A companion that dies instead of answering is told with a remedy, and closing it is harmless."""

    async def live() -> None:
        guard = await Companion.start("guard")
        send_signal(guard.pid, signal.SIGKILL)
        with pytest.raises(PlatformResourceError, match="was killed"):
            await guard.ask("stop 2 2")
        assert await guard.close()
        assert await guard.close()

    run(live())


def test_a_fault_interrupted_while_it_starts_is_undone(sleeper: int) -> None:
    """Cancelling in the middle of a start leaves no process paused and no companion alive."""

    class Interrupted(Pause):
        async def start(self) -> None:
            await super().start()
            raise asyncio.CancelledError

    async def live() -> None:
        with pytest.raises(asyncio.CancelledError):
            await Interrupted(lambda: sleeper).__aenter__()
        assert state(sleeper) in ("S", "R")

    run(live())
