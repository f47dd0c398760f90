"""Axes: from values to places on the page, with ticks people can read. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOG_FROM = 20.0
"""How many times the largest must exceed the median before an axis turns logarithmic: below, a straight one
is easier to read.
"""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: a domain of values laid over a range of places."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where *value* lies; beyond the domain it stays at the edge."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            # A difference of logarithms: the quotient of two floats can be too large for a float.
            share = (math.log(inside) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About *count* round values inside the domain."""
        return _decades(self.low, self.high) if self.log else nice_ticks(self.low, self.high, count)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between *low* and *high*."""
    raw = (high - low) / max(count, 1)
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1) if low <= 10.0**power <= high]
    if len(powers) >= 3:
        return powers[:: max(1, len(powers) // 6)]
    dense = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [value for value in dense if low <= value <= high]


def fit(
    samples: Sequence[float], threshold: float | None, start: float, end: float, *, zero: bool = False
) -> Axis:
    """The axis that shows all *samples* and the *threshold*: logarithmic where they are far apart and all
    positive.

    *zero* makes a linear axis begin at 0 if all is positive.
    """
    values = [*samples, *([] if threshold is None else [threshold])]
    low, high = min(values), max(values)
    middle = sorted(samples)[len(samples) // 2]
    if low > 0 and high > LOG_FROM * middle:
        return Axis(low=low / 1.6, high=high * 1.6, start=start, end=end, log=True)
    if zero and low >= 0:
        low = 0.0
    room = (high - low) * 0.06 or abs(high) * 0.5 or 1.0
    bottom = low if zero and low == 0.0 else low - room
    return Axis(low=bottom, high=high + room, start=start, end=end)
