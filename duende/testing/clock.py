"""Time that a test moves by hand."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable


class ManualClock:
    """A `duende.clock.Clock` that stands still until `advance`; deadlines registered with `call_at` fire on
    the way.
    """

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = 0

    def monotonic(self) -> float:
        """Seconds that only `advance` moves."""
        return self._monotonic

    def wall(self) -> float:
        """Seconds since the epoch: moved by `advance`, and by `step_wall` alone."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, firing every timer at its own time, in order, also those that timers add on the
        way.

        Raises:
            ValueError: *seconds* is negative or not finite; a monotonic clock knows neither.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"cannot advance a clock by {seconds} s")
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, callback = heapq.heappop(self._timers)
            self._move_to(max(when, self._monotonic))
            callback()
        self._move_to(end)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or, with a negative number, back; nothing measured monotonically may
        notice.
        """
        self._wall += seconds

    def call_at(self, when: float, callback: Callable[[], object]) -> None:
        """Call *callback* when `advance` reaches monotonic time *when*."""
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, callback))

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        """Call *callback* after *delay* seconds of `advance`."""
        self.call_at(self._monotonic + delay, callback)

    @property
    def pending(self) -> int:
        """How many timers wait."""
        return len(self._timers)

    def _move_to(self, when: float) -> None:
        self._wall += when - self._monotonic
        self._monotonic = when
