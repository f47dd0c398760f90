"""What the adapter remembers: a record for each daemon, a batch for each start under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from duende.adapters.contract import DaemonHandle, SpawnRequest
from duende.adapters.native.foreign import Watch
from duende.states import ProcessExit

SPAWN_TIMEOUT = 30.0
"""Seconds for the warden to answer a start: a cold interpreter under load takes a few of them at most."""
SPAWN_EACH = 0.1
"""Seconds more for each further daemon of a batch: five times what a Python daemon costs one core."""
CHUNK = 128
"""Starts rendered and sent at a time: the warden begins while the next ones are rendered, and what they are made of is not held for all."""
SIGNAL_TIMEOUT = 5.0
STOP_MARGIN = 10.0
DRAIN_TIMEOUT = 1.0
"""Seconds that reading a log waits for output still on its way into it: a disk may hang."""
"""Seconds beyond the daemon's own deadline for KILL, the kernel and the last log lines."""


class Record:
    """What the adapter knows of one daemon it started or adopted."""

    __slots__ = ("exit", "handle", "leftovers", "log_path", "stop", "stop_by", "waiters", "watch")

    def __init__(self, handle: DaemonHandle, log_path: str | None) -> None:
        self.handle = handle
        self.log_path = log_path
        self.exit: ProcessExit | None = None
        self.leftovers = False
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.stop: asyncio.Future[tuple[Any, ...]] | None = None
        self.stop_by = 0.0
        """Until when it has been asked to be gone (monotonic)."""
        self.watch: Watch | None = None

    def begin_stop(self, timeout: float) -> bool:
        """A stop within *timeout* seconds begins, or goes on; whether the warden has to be told."""
        by = time.monotonic() + timeout
        if self.stop is not None and by >= self.stop_by:
            return False
        self.stop_by = by
        if self.stop is None:
            self.stop = asyncio.get_running_loop().create_future()
        return True


class Batch:
    """A batch of starts under way."""

    __slots__ = ("by_id", "done", "late", "logs", "number", "results")

    def __init__(self, number: int, requests: Sequence[SpawnRequest]) -> None:
        self.number = number
        self.by_id = {request.daemon_id: request for request in requests}
        self.results: dict[str, DaemonHandle | Exception] = {}
        self.logs: dict[str, str | None] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.late = False
        """Whoever asked was told that it took too long: what still starts is ended."""
