"""Pausing: by the runtime's freezer; by STOP to each process where probes of the runtime or of ours enter the container.

A process that enters a frozen control group stops half way, and whoever brings it in waits for it: Docker 20.10 holds the container's lock
meanwhile, so that an unpause that meets a health probe takes as long as the probe's timeout, and calls about that container hang (healthchecks
are ended by a signal, which the frozen do not take). Podman 4.3 holds its lock over the start of an exec as well. Nobody outside the runtime
knows when a probe of its own begins, so no moment is safe for the freezer. STOP needs no call to the runtime at all, and a probe that enters
meanwhile runs, finds nobody at home, and its verdict waits until the daemon runs on.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import time
from collections.abc import Iterator

from duende.adapters.container.checks import Check
from duende.adapters.container.records import SWEEP_EVERY, SWEEPS, Record
from duende.adapters.container.watching import Watch
from duende.config.model import DaemonConfig, ReadinessKind, readiness_of
from duende.errors import (
    DuendeError,
    InstanceNotFoundError,
    InvalidStateError,
    PlatformIOError,
    PlatformTimeoutError,
)
from duende.kernel.process import LOWEST_PID, children_of, read_stat

PROBED = "probed"
"""In the handle's data: programs are run inside this container while its daemon runs; the health check as JSON where there is one."""
STOP_WITHIN = 2.0
"""Seconds until every process must have stopped: the kernel does it in microseconds, but for one in an uninterruptible sleep."""
LOOK_EVERY = 0.002
TREE_MAX = 100_000
"""Processes looked at in one pass; a container has fewer by its limit of pids."""


def probed_by(config: DaemonConfig, check: Check | None) -> str:
    """What `PROBED` says of a daemon of that *config*; empty where nobody enters its container."""
    if check is not None:
        return check.to_json()
    return "readiness" if readiness_of(config) is ReadinessKind.EXEC else ""


def stopped(record: Record) -> bool:
    """Whether its main process was stopped by a signal, by the kernel's word."""
    stat = read_stat(record.watch.main) if record.watch is not None and record.exit is None else None
    return stat is not None and stat.state == "T"


async def pause(record: Record) -> None:
    """Have nothing of the daemon run.

    Raises:
        InvalidStateError: it is in no state to be paused.
        PlatformTimeoutError: it did not come about in time; whether it still does nobody knows, and `stop` allows for it.
        PlatformError: the runtime did not do it.
    """
    record.pauses += 1
    if PROBED in record.handle.data and record.watch is not None:
        await _stop_all(record, record.watch)
        record.paused = True
        return
    try:
        await record.engine.pause(record.handle.instance)
    except InvalidStateError:
        if not (await record.engine.inspect(record.handle.instance)).paused:
            raise
    except BaseException as error:
        # Perhaps it is: whoever ends it thaws it first.
        record.paused = isinstance(error, PlatformTimeoutError | PlatformIOError | asyncio.CancelledError)
        raise
    record.paused = True


async def resume(record: Record) -> None:
    """Let it run on; harmless when it does.

    Raises:
        InvalidStateError: it is in no state to be resumed.
        PlatformError: the runtime did not do it.
    """
    record.pauses += 1
    if stopped(record) and record.watch is not None:
        _continue_all(record.watch)
        if PROBED in record.handle.data:
            record.paused = False
            return
    try:
        await record.engine.unpause(record.handle.instance)
    except InvalidStateError:
        if (await record.engine.inspect(record.handle.instance)).paused:
            raise
    record.paused = False


async def take_back(record: Record) -> None:
    """A pause was given up: whenever the runtime carries it out after all, it is undone, unless somebody has asked for another since."""
    turn, looks = record.pauses, 0
    while record.exit is None and looks < SWEEPS:
        await asyncio.sleep(SWEEP_EVERY)
        if record.pauses != turn:
            return
        try:
            if (await record.engine.inspect(record.handle.instance)).paused:
                await record.engine.unpause(record.handle.instance)
            looks += 1
        except InstanceNotFoundError:
            return
        except DuendeError:
            looks = 0  # it has not come back yet
    record.paused = False


async def wake_to_end(record: Record) -> None:
    """It was sent a signal that ends it: let it take that. A frozen process takes none, not even KILL on cgroup v1, before it is thawed."""
    by_signal = stopped(record)
    if record.watch is not None:
        _continue_all(record.watch)
    if not by_signal or record.watch is None:
        try:
            await record.engine.unpause(record.handle.instance)
        except (InvalidStateError, InstanceNotFoundError):
            pass  # somebody else resumed it, or Docker did so for KILL
        except DuendeError:
            # A runtime that hangs must not keep a frozen daemon alive: its control group is thawed where the kernel has it.
            if record.watch is None or not record.watch.group.thaw():
                raise
    record.paused = False


async def _stop_all(record: Record, watch: Watch) -> None:
    deadline = time.monotonic() + STOP_WITHIN
    while True:
        running = [pid for pid in _tree(watch) if not _still(pid)]
        for pid in running:
            _send(watch, pid, signals.SIGSTOP)
        if not running:
            return
        if time.monotonic() > deadline:
            _continue_all(watch)
            left = ", ".join(str(read_stat(pid) or pid) for pid in running[:5])
            raise PlatformTimeoutError(f"stop all of {record.handle.name!r} (not yet: {left})", STOP_WITHIN)
        await asyncio.sleep(LOOK_EVERY)  # one that forked just before it stopped has a child to be found


def _continue_all(watch: Watch) -> None:
    for pid in _tree(watch):
        stat = read_stat(pid)
        if stat is not None and stat.state == "T":
            _send(watch, pid, signals.SIGCONT)


def _tree(watch: Watch) -> Iterator[int]:
    """The daemon's processes, parents first; the runtime's init is not one of them, nor is what was brought in from outside."""
    waiting = [watch.first] if watch.main == watch.first else list(children_of(watch.first))
    for _ in range(TREE_MAX):
        if not waiting:
            return
        pid = waiting.pop(0)
        yield pid
        waiting += children_of(pid)


def _still(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat.state in "TtZX"


def _send(watch: Watch, pid: int, number: int) -> None:
    """Through a pidfd that was opened before the process was seen to be in this very container."""
    if pid < LOWEST_PID or watch.ended:
        return
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return  # gone, which is as still as can be
    try:
        if watch.owns(pid):
            signals.pidfd_send_signal(fd, number)
    except OSError:
        return  # it ended in this moment
    finally:
        os.close(fd)
