"""The wall clock jumps. Only the injected clock does: the host's is not touched."""

from __future__ import annotations

import time

from duende.clock import SYSTEM_CLOCK
from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError

YEAR = 365 * 86400.0


class JumpingClock:
    """A `duende.clock.Clock` whose wall time has an offset; the monotonic one is the system's."""

    def __init__(self) -> None:
        self.offset = 0.0

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return SYSTEM_CLOCK.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch, plus the offset."""
        return SYSTEM_CLOCK.wall() + self.offset


class WallJump(Fault):
    """The wall clock jumps by *seconds*; healed by jumping back."""

    def __init__(self, clock: JumpingClock, seconds: float = -YEAR) -> None:
        self.name = "wall-clock-jump"
        self._clock = clock
        self._seconds = seconds

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Jump; proven by reading the clock against the host's."""
        self._clock.offset = self._seconds
        off = self._clock.wall() - time.time()
        if abs(off - self._seconds) > 1:
            raise NoEffectError(f"the clock is off by {off:g} s")
        return f"the wall clock is off by {off / 86400:.1f} days"

    async def heal(self) -> str:
        """Jump back."""
        self._clock.offset = 0.0
        return "the wall clock is right again"
