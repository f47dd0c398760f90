"""Faults prove that they took effect, are healed, and say so when they had no effect."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.daemons import command
from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError
from scenarios.faults.clocks import JumpingClock, WallJump
from scenarios.faults.descriptors import Emfile
from scenarios.faults.files import DeletedLog, FolderGone, FolderIsFile
from scenarios.faults.loop import BlockedLoop
from scenarios.faults.pids import RecycledPid
from scenarios.faults.ports import HeldPort
from scenarios.faults.processes import Stop, kill, segv
from scenarios.history import History, Kind
from scenarios.look import state_of
from scenarios.nemesis import Nemesis


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """One obedient daemon, ready."""
    process = subprocess.Popen(command("obedient"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def strike(fault: Fault, *, heal: bool = True) -> tuple[str, str]:
    """Inject and heal; proof and what healing did."""

    async def both() -> tuple[str, str]:
        with Reaper() as reaper:
            proof = await fault.inject(reaper, 0)
            return proof, await fault.heal() if heal else ""

    return asyncio.run(both())


@pytest.mark.parametrize(("make", "text"), [(kill, "SIGKILL"), (segv, "SIGSEGV")])
def test_deadly_signals_end_their_target(make: object, text: str, victim: subprocess.Popen[bytes]) -> None:
    """The proof is the end of the process, and names the signal."""
    assert callable(make)
    proof, _ = strike(make(lambda: [victim.pid]))
    assert proof == f"{text} ended {victim.pid}"
    assert victim.wait(5) < 0


def test_nobody_to_kill_is_no_effect() -> None:
    """Without a target a fault has no effect, and says so."""
    with pytest.raises(NoEffectError, match="nobody"):
        strike(kill(list))


def test_stop_is_seen_by_the_kernel_and_undone(victim: subprocess.Popen[bytes]) -> None:
    """State T is the proof; healing continues the process."""
    proof, done = strike(Stop(lambda: [victim.pid]))
    assert proof == f"{victim.pid} is in state T"
    assert done == f"cont {victim.pid}"
    assert state_of(victim.pid) != "T"


def test_emfile_is_felt_and_undone() -> None:
    """This very process cannot open anything while it lasts."""
    fault = Emfile(lambda: [os.getpid()])

    async def inside() -> str:
        with Reaper() as reaper:
            await fault.inject(reaper, 0)
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    os.open(os.devnull, os.O_RDONLY)
            finally:
                done = await fault.heal()
            return done

    assert "again" in asyncio.run(inside())
    os.close(os.open(os.devnull, os.O_RDONLY))


def test_files_and_folders(tmp_path: Path) -> None:
    """Deleted logs are gone, folders disappear or become files, and come back empty."""
    log, folder = tmp_path / "d.log", tmp_path / "logs"
    log.write_text("hello")
    deleted = DeletedLog(lambda: log)
    assert "5 bytes" in strike(deleted)[0]
    assert deleted.removed == 5
    with pytest.raises(NoEffectError, match="there is no"):
        strike(deleted)
    for fault in (FolderGone(folder), FolderIsFile(folder)):
        folder.mkdir(exist_ok=True)
        (folder / "x").touch()
        strike(fault)
        assert folder.is_dir()
        assert not list(folder.iterdir())


def test_a_held_port_is_free_again_when_healed() -> None:
    """Somebody else listens there while it lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    proof, _ = strike(HeldPort(port))
    assert f"holds port {port}" in proof
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_a_blocked_loop_is_late() -> None:
    """A timer that is late by the whole block is the proof."""
    began = time.monotonic()
    assert "late" in strike(BlockedLoop(0.05))[0]
    assert time.monotonic() - began >= 0.05


def test_the_wall_clock_jumps_and_the_monotonic_does_not() -> None:
    """Only the injected clock's wall time is off, and only while it lasts."""
    clock = JumpingClock()
    proof, _ = strike(WallJump(clock), heal=False)
    assert "-365.0 days" in proof
    assert abs(clock.monotonic() - time.monotonic()) < 1
    assert clock.wall() < time.time() - 86400
    asyncio.run(WallJump(clock).heal())
    assert abs(clock.wall() - time.time()) < 1


def test_pids_are_not_recycled_outside_a_namespace() -> None:
    """Rewinding the host's numbers is never offered."""
    assert RecycledPid(4242, command("obedient")).unsupported()


def test_the_nemesis_keeps_the_history(victim: subprocess.Popen[bytes]) -> None:
    """Injection with its proof, healing, and a fault without effect as a failure."""

    async def play() -> History:
        history = History()
        with Reaper() as reaper:
            nemesis = Nemesis(history, reaper)
            assert await nemesis.strike(Stop(lambda: [victim.pid]))
            assert not await nemesis.strike(kill(list))
            await nemesis.heal_all()
        return history

    history = asyncio.run(play())
    told = [(entry.kind, entry.f, entry.value["fault"]) for entry in history.operations]
    assert (Kind.OK, "inject", "stop") in told
    assert (Kind.FAIL, "inject", "kill") in told
    assert (Kind.OK, "heal", "stop") in told
