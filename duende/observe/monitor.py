"""The monitor: samples processes at an interval that does not drift, and keeps a history of each that never grows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from duende.errors import ConfigError, NotFoundError
from duende.observe.procfs import ProcessReader, ProcessSample
from duende.observe.ring import RingBuffer
from duende.observe.turns import Turns

COLUMNS = ("cpu_percent", "rss_bytes", "threads", "read_bytes", "written_bytes")
CAPACITY = 3600
"""Samples of one process: an hour at one a second, 170 KB."""
LEAST = 0.001
"""Seconds: the shortest interval."""
Listener = Callable[[str, "Reading"], None]


class Reading(NamedTuple):
    """A process between two looks; what may not be read is not a number (nan)."""

    at: float
    cpu_percent: float
    """Of one core, since the look before."""
    rss_bytes: float
    threads: float
    read_bytes: float
    written_bytes: float


class _Watched:
    """One process that is sampled."""

    def __init__(self, pid: int, capacity: int) -> None:
        self.reader = ProcessReader(pid)
        self.history = RingBuffer(capacity, len(COLUMNS))
        self.before: ProcessSample | None = self.reader.sample()


class DaemonMonitor:
    """Samples what is `watch`ed, by names of the caller's, at *interval* seconds once it is started, or whenever `collect` is called."""

    def __init__(self, interval: float = 1.0, capacity: int = CAPACITY) -> None:
        """Nothing is watched yet.

        Raises:
            ConfigError: the interval is below a millisecond, or the capacity below 1.
        """
        if not LEAST <= interval < math.inf:
            raise ConfigError(f"interval = {interval!r}", remedy=f"use {LEAST} s or more", key="interval")
        self.interval = interval
        self.capacity = capacity
        self._turns = Turns(interval)
        self._watched: dict[str, _Watched] = {}
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        RingBuffer(capacity, len(COLUMNS))  # refuses what is no capacity, now and not at the first process

    @property
    def missed(self) -> int:
        """Turns that were left out because one before them, or the machine, took too long."""
        return self._turns.missed

    def watch(self, name: str, pid: int) -> None:
        """Sample the process that has the number *pid* now, as *name*; a history that *name* has from an earlier process goes on.

        Raises:
            ProcessLookupError: there is no such process.
        """
        fresh = _Watched(pid, self.capacity)
        old = self._watched.get(name)
        if old is not None:
            fresh.history = old.history
            old.reader.close()
        self._watched[name] = fresh

    def forget(self, name: str) -> None:
        """Sample it no more, and drop its history."""
        found = self._watched.pop(name, None)
        if found is not None:
            found.reader.close()

    def subscribe(self, listener: Listener) -> None:
        """Call *listener* with every reading from now on."""
        self._listeners.append(listener)

    def collect(self, names: Iterable[str] | None = None) -> dict[str, Reading]:
        """Look at all that is watched, or at *names* of it, now; those that have ended are left out, and keep their history."""
        found: dict[str, Reading] = {}
        for name in list(self._watched) if names is None else names:
            watched = self._watched.get(name)
            now = watched.reader.sample() if watched is not None else None
            if watched is None or now is None:
                continue
            reading = _reading(watched.before, now)
            watched.before = now
            watched.history.push(*reading)
            found[name] = reading
            for listener in self._listeners:
                listener(name, reading)
        return found

    def history(self, name: str, start: float = -math.inf, end: float = math.inf) -> list[Reading]:
        """Readings of the times (CLOCK_MONOTONIC) from *start* to *end*, oldest first.

        Raises:
            NotFoundError: nothing is or was watched as *name*.
        """
        if name not in self._watched:
            raise NotFoundError(f"nothing is watched as {name!r}")
        return [Reading(*each) for each in self._watched[name].history.between(start, end)]

    def start(self) -> None:
        """Sample at the interval from now on, in the running loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Sample no more; histories stay."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def close(self) -> None:
        """Let go of everything."""
        if self._task is not None:
            self._task.cancel()
        for name in list(self._watched):
            self.forget(name)

    async def _run(self) -> None:
        async for _ in self._turns:
            self.collect()


def _reading(before: ProcessSample | None, now: ProcessSample) -> Reading:
    span = now.at - before.at if before is not None else 0.0
    percent = (
        100.0 * (now.cpu_seconds - before.cpu_seconds) / span if before is not None and span > 0 else 0.0
    )
    return Reading(
        now.at,
        percent,
        float(now.rss_bytes),
        float(now.threads),
        math.nan if now.read_bytes is None else float(now.read_bytes),
        math.nan if now.written_bytes is None else float(now.written_bytes),
    )
