"""What daemons use, in the words of `[resources]`: of a group's counters, whoever read them."""

from __future__ import annotations

import os
import time

from duende.adapters.contract import DaemonHandle
from duende.policy.cgroups.readings import Usage

SHORTEST = 1e-3
"""Seconds: a rate over less is none."""


class Used:
    """Remembers the look before, which a rate needs."""

    def __init__(self) -> None:
        self._spent: dict[str, tuple[float, float]] = {}
        """When a daemon's CPU time was looked at last, and how many seconds it was."""

    def told(self, handle: DaemonHandle, now: Usage) -> dict[str, float]:
        """By the keys of `[resources]`; what nobody counted is left out. CPU in percent of a core since the look before, at first since its start."""
        found: dict[str, float] = {}
        if now.memory_bytes is not None:
            found["memory_bytes"] = now.memory_bytes
        if now.pids is not None:
            found["pids_max"] = now.pids
        if now.cpu_seconds is not None:
            at, age = time.monotonic(), age_of(handle)
            first = (at - age, 0.0) if age is not None else None
            before = self._spent.get(handle.daemon_id, first)
            self._spent[handle.daemon_id] = (at, now.cpu_seconds)
            if before is not None:
                found["cpu_quota_percent"] = (
                    100.0 * (now.cpu_seconds - before[1]) / max(SHORTEST, at - before[0])
                )
        return found

    def forget(self, daemon_id: str) -> None:
        """Drop what is kept of it."""
        self._spent.pop(daemon_id, None)


def age_of(handle: DaemonHandle) -> float | None:
    """Seconds since the daemon's main process started; None where nobody here has seen it."""
    if not handle.start_time:
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - handle.start_time / os.sysconf("SC_CLK_TCK")
