"""Time as a parameter: every deadline uses the monotonic clock, and tests bring their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. `duende.testing.ManualClock` is the one for tests."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; its zero means nothing."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch; only for people to read, never for a deadline."""
        ...


class SystemClock:
    """The clocks of the system: CLOCK_MONOTONIC and CLOCK_REALTIME (clock_gettime(2))."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    """Seconds of CLOCK_MONOTONIC. The function itself: a method around it would cost a decision of the runtime policy a tenth of a microsecond."""

    def wall(self) -> float:
        """Seconds of CLOCK_REALTIME."""
        return time.time()


SYSTEM_CLOCK = SystemClock()
"""The clock used where none is given."""
