"""What stands out of a stream of numbers: the z-score of each against those before it, in a window."""

from __future__ import annotations

import enum
import math
from array import array

import msgspec

from duende.errors import ConfigError

WINDOW, THRESHOLD = 100, 3.0
LEAST = 10
"""Numbers that must have been seen before one is scored."""
FLAT = 1e-9
"""Share of the mean below which a deviation is rounding: of numbers that are all alike each other one would stand out by any score."""


class Severity(enum.Enum):
    """How far it stands out."""

    LOW = "low"
    """At least the threshold, 3 sigma by default."""
    MEDIUM = "medium"
    """At least 4 sigma."""
    HIGH = "high"
    """At least 5 sigma."""


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A number that stands out."""

    at: float
    value: float
    score: float
    """How many standard deviations above (or below, negative) the mean of the window before it."""
    severity: Severity
    mean: float
    deviation: float


class AnomalyDetector:
    """Scores each number against the last *window* before it, and only then takes it in: a spike does not hide itself."""

    __slots__ = (
        "_count",
        "_next",
        "_squares",
        "_sum",
        "_values",
        "anomalies",
        "threshold",
        "window",
    )

    def __init__(self, window: int = WINDOW, threshold: float = THRESHOLD) -> None:
        """With nothing seen.

        Raises:
            ConfigError: the window is smaller than 10, or the threshold is no positive number.
        """
        if window < LEAST:
            raise ConfigError(f"window = {window!r}", remedy=f"use {LEAST} or more", key="window")
        if not 0 < threshold < math.inf:
            raise ConfigError(f"threshold = {threshold!r}", remedy="use more than 0 sigma", key="threshold")
        self.window = window
        self.threshold = threshold
        self.anomalies = 0
        """How many there were."""
        self._values = array("d", bytes(8 * window))
        self._next = 0
        self._count = 0
        self._sum = self._squares = 0.0

    def score(self, value: float) -> float:
        """The z-score of *value* now, 0 while too few have been seen; nothing is taken in. The deviation is that of the population."""
        return self._score(value, *self._moments())

    def _score(self, value: float, mean: float, deviation: float) -> float:
        if self._count < LEAST:
            return 0.0
        if deviation <= FLAT * abs(mean):
            # All before were alike: any other number stands out as far as can be.
            return (
                0.0
                if math.isclose(value, mean, rel_tol=1e-9, abs_tol=1e-12)
                else math.copysign(math.inf, value - mean)
            )
        return (value - mean) / deviation

    def observe(self, value: float, at: float = 0.0) -> Anomaly | None:
        """Score *value* and take it in; the anomaly, if it is one.

        Raises:
            ValueError: it is no finite number.
        """
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is no number that could be scored")
        mean, deviation = self._moments()
        score = self._score(value, mean, deviation)
        self._take(value)
        if abs(score) < self.threshold:
            return None
        self.anomalies += 1
        severity = Severity.HIGH if abs(score) >= 5 else Severity.MEDIUM if abs(score) >= 4 else Severity.LOW
        return Anomaly(at=at, value=value, score=score, severity=severity, mean=mean, deviation=deviation)

    def _moments(self) -> tuple[float, float]:
        if not self._count:
            return 0.0, 0.0
        mean = self._sum / self._count
        return mean, math.sqrt(max(0.0, self._squares / self._count - mean * mean))

    def _take(self, value: float) -> None:
        place = self._next
        if self._count == self.window:
            gone = self._values[place]
            self._sum -= gone
            self._squares -= gone * gone
        else:
            self._count += 1
        self._values[place] = value
        self._sum += value
        self._squares += value * value
        self._next = place + 1
        if self._next == self.window:
            self._next = 0
            # Once a window the sums are made anew: what rounding left in them cannot add up.
            self._sum = math.fsum(self._values[: self._count])
            self._squares = math.fsum(each * each for each in self._values[: self._count])
