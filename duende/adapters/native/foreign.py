"""Daemons whose parent is not our warden: started by another process, or left by a warden that died.

Everything goes through a pidfd that was opened first and checked against the handle after (pidfd_open(2)): a number that was taken over by
a stranger is never signalled.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import time
from collections.abc import Callable

from duende.adapters.contract import DaemonHandle, Ownership, StopCertificate, StopStep
from duende.adapters.native.warden.tree import COOKIE
from duende.errors import IdentityError, InstanceNotFoundError, SignalFailedError
from duende.kernel.pidfd import exit_of
from duende.kernel.process import LOWEST_PID, boot_id, environment_value, read_stat
from duende.signals import signal_name
from duende.states import DaemonStatus, Phase, ProcessExit

KILL_GRACE = 5.0
LOOK_EVERY = 0.02


def verify(handle: DaemonHandle, boot: str | None = None) -> Ownership:
    """Whether the process behind *handle* is the one it was made for."""
    if handle.boot_id and handle.boot_id != (boot or boot_id()):
        return Ownership.GONE
    stat = read_stat(handle.pid) if handle.pid >= LOWEST_PID else None
    if stat is None or stat.state in "ZX":
        return Ownership.GONE
    if not handle.start_time or not handle.boot_id:
        return Ownership.UNVERIFIABLE
    return Ownership.OURS if stat.start_time == handle.start_time else Ownership.STRANGER


def open_verified(handle: DaemonHandle) -> int:
    """A pidfd of the very process of *handle*; the caller closes it.

    Raises:
        InstanceNotFoundError: it has ended.
        IdentityError: the number belongs to a stranger, or nobody can tell.
    """
    if handle.pid < LOWEST_PID:
        raise IdentityError(f"cannot look at {handle.name!r}: pid {handle.pid} is none of ours")
    try:
        fd = os.pidfd_open(handle.pid)
    except ProcessLookupError:
        raise InstanceNotFoundError(f"{handle.name!r} (pid {handle.pid}) has ended") from None
    found = verify(handle)
    if found is Ownership.OURS:
        return fd
    os.close(fd)
    if found is Ownership.GONE:
        raise InstanceNotFoundError(f"{handle.name!r} (pid {handle.pid}) has ended")
    raise IdentityError(
        f"cannot signal {handle.name!r}: pid {handle.pid} is {'a stranger now' if found is Ownership.STRANGER else 'not verifiable'}",
        remedy="forget the handle; the daemon it was for is gone",
    )


def send(handle: DaemonHandle, number: int) -> None:
    """Send signal *number* to the process of *handle*, verified; raises as `open_verified` does.

    Raises:
        SignalFailedError: the kernel refused.
    """
    fd = open_verified(handle)
    try:
        signals.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise InstanceNotFoundError(f"{handle.name!r} has just ended") from None
    except OSError as error:
        raise SignalFailedError(
            f"cannot send {signal_name(number)} to {handle.name!r}: {error.strerror}"
        ) from error
    finally:
        os.close(fd)


def status(handle: DaemonHandle) -> DaemonStatus:
    """Running, Paused, or Stopped when it is gone (how it ended nobody here saw)."""
    if verify(handle) is not Ownership.OURS:
        return DaemonStatus(Phase.STOPPED)
    stat = read_stat(handle.pid)
    return DaemonStatus(Phase.PAUSED if stat is not None and stat.state in "Tt" else Phase.RUNNING)


class Watch:
    """Calls back once the process of *handle* has ended."""

    def __init__(self, handle: DaemonHandle, ended: Callable[[ProcessExit], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        try:
            self._fd = open_verified(handle)
        except (InstanceNotFoundError, IdentityError):
            self._fd = -1
            self._loop.call_soon(ended, ProcessExit(at=time.monotonic()))
            return
        self._loop.add_reader(self._fd, self._on_end)

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _on_end(self) -> None:
        seen = exit_of(self._fd)
        self.close()
        self._ended(seen)


async def wait(handle: DaemonHandle) -> ProcessExit:
    """Wait for the end of a daemon that is not our child; the exit is what the kernel tells (Linux 6.15), or unknown."""
    future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
    watch = Watch(handle, future.set_result)
    try:
        return await future
    finally:
        watch.close()


async def stop(handle: DaemonHandle, timeout: float) -> StopCertificate:
    """End a daemon that is not our warden's: TERM, deadline, KILL, and a look through /proc for what carries its mark."""
    started = time.monotonic()
    steps: list[StopStep] = []
    seen: ProcessExit | None = None
    escalated = False
    for number, patience in ((signals.SIGTERM, timeout), (signals.SIGKILL, KILL_GRACE)):
        try:
            send(handle, number)
        except (InstanceNotFoundError, IdentityError):
            break
        steps.append(StopStep(time.monotonic() - started, f"{signal_name(number)[3:]} to {handle.pid}"))
        escalated = number == signals.SIGKILL
        try:
            async with asyncio.timeout(patience):
                seen = await wait(handle)
            break
        except TimeoutError:
            continue  # KILL is next
    stragglers = await _end_family(handle, started, steps)
    left = family(handle)
    return StopCertificate(
        name=handle.name,
        steps=tuple(steps),
        escalated=escalated or bool(stragglers),
        proven=not left,
        proof="no process carries its mark or its session"
        if not left
        else "still there: " + ", ".join(map(str, left[:5])),
        stragglers=tuple(stragglers),
        blocked_by=tuple(str(stat) for stat in left),
        exit=seen,
        duration=time.monotonic() - started,
    )


def family(handle: DaemonHandle) -> list[object]:
    """Every living process of the daemon: its main one, its session, and whatever carries its mark in the environment."""
    found: list[object] = []
    if verify(handle) is Ownership.UNVERIFIABLE:
        return found
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) < LOWEST_PID or int(entry) == os.getpid():
            continue
        stat = read_stat(int(entry))
        if stat is None or stat.state in "ZX" or stat.start_time < handle.start_time:
            continue
        if stat.session == handle.pid or environment_value(stat.pid, COOKIE) == handle.daemon_id:
            found.append(stat)
    return found


async def _end_family(handle: DaemonHandle, started: float, steps: list[StopStep]) -> list[str]:
    ended: dict[int, str] = {}
    deadline = time.monotonic() + KILL_GRACE
    while (left := family(handle)) and time.monotonic() < deadline:
        for stat in left:
            pid = getattr(stat, "pid", 0)
            kin = DaemonHandle(
                daemon_id=handle.daemon_id,
                name=handle.name,
                platform=handle.platform,
                instance=f"pid{pid}",
                pid=pid,
                start_time=getattr(stat, "start_time", 0),
                boot_id=handle.boot_id,
            )
            try:
                send(kin, signals.SIGKILL)
            except (InstanceNotFoundError, IdentityError):
                continue  # gone in the meantime, which is what was wanted
            if pid not in ended:
                ended[pid] = f"{pid} {getattr(stat, 'comm', '')}"
                steps.append(StopStep(time.monotonic() - started, f"KILL to {ended[pid]}"))
        await asyncio.sleep(LOOK_EVERY)
    return list(ended.values())


async def reap_helper(pid: int, timeout: float) -> None:
    """Collect a helper process of ours, giving it *timeout* seconds; one that takes longer is left to end by itself."""
    if pid < LOWEST_PID:
        return
    deadline = time.monotonic() + timeout
    while True:
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None:
                return
        except ChildProcessError:
            return
        if time.monotonic() >= deadline:
            return
        await asyncio.sleep(LOOK_EVERY)
