"""A log-linear histogram of durations: fixed memory, any range, a relative error that is known (the idea of HdrHistogram).

Values are counted in whole nanoseconds. Below `SUB` every value has a bucket of its own; above, each power of two is cut into `SUB / 2` equal
buckets, so a bucket is never wider than 2 / SUB of its lowest value. A percentile is the middle of its bucket and at most 1 / SUB away:
0.4 % with SUB = 256, within the 1 % that is promised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

SUB_BITS = 8
SUB = 1 << SUB_BITS
HALF = SUB // 2
RELATIVE_ERROR = 1 / SUB
"""Largest distance of a percentile from the true sample, as a share of it."""
NANOSECONDS = 1_000_000_000


def bucket_of(value: int) -> int:
    """The bucket of *value* nanoseconds."""
    if value < SUB:
        return value
    shift = value.bit_length() - SUB_BITS
    return shift * HALF + (value >> shift)


def bounds_of(bucket: int) -> tuple[int, int]:
    """The lowest value of *bucket* and the lowest above it, in nanoseconds."""
    if bucket < SUB:
        return bucket, bucket + 1
    shift = (bucket - HALF) // HALF
    mantissa = bucket - shift * HALF
    return mantissa << shift, (mantissa + 1) << shift


class Histogram:
    """Counts durations given in seconds and answers percentiles in seconds; not for several threads at once."""

    __slots__ = ("_counts", "_max", "_min", "_sum", "_total")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self._sum = 0
        self._max = 0
        self._min = 0
        for each in seconds:
            self.record(each)

    def record(self, seconds: float, count: int = 1) -> None:
        """Count a duration, *count* times.

        Raises:
            ValueError: *seconds* is negative or not finite, or *count* is not positive.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"cannot record a duration of {seconds} s: it must be 0 or more, and finite")
        if count < 1:
            raise ValueError(f"cannot record a duration {count} times")
        value = round(seconds * NANOSECONDS)
        bucket = bucket_of(value)
        self._counts[bucket] = self._counts.get(bucket, 0) + count
        self._min = value if not self._total else min(self._min, value)
        self._max = max(self._max, value)
        self._total += count
        self._sum += value * count

    def merge(self, other: Histogram) -> Histogram:
        """A histogram of the samples of both; merging is associative and commutative."""
        merged = Histogram()
        merged._counts = dict(self._counts)
        for bucket, count in other._counts.items():
            merged._counts[bucket] = merged._counts.get(bucket, 0) + count
        filled = [each for each in (self, other) if each._total]
        merged._total = self._total + other._total
        merged._sum = self._sum + other._sum
        merged._max = max(self._max, other._max)
        merged._min = min((each._min for each in filled), default=0)
        return merged

    def percentile(self, percent: float) -> float:
        """The sample that *percent* of all samples do not exceed (nearest rank), within `RELATIVE_ERROR`; 0.0 without samples.

        Raises:
            ValueError: *percent* is not between 0 and 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"there is no percentile {percent}: it is between 0 and 100")
        if not self._total:
            return 0.0
        rank = max(1, math.ceil(percent / 100 * self._total))
        if rank >= self._total:
            return self.max
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                low, high = bounds_of(bucket)
                return min(max((low + high - 1) / 2, self._min), self._max) / NANOSECONDS
        return self.max

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self._total

    @property
    def max(self) -> float:
        """The largest sample in seconds, exact to the nanosecond; 0.0 without samples."""
        return self._max / NANOSECONDS

    @property
    def min(self) -> float:
        """The smallest sample in seconds, exact to the nanosecond; 0.0 without samples."""
        return self._min / NANOSECONDS

    @property
    def mean(self) -> float:
        """The mean in seconds, exact to the nanosecond; 0.0 without samples."""
        return self._sum / self._total / NANOSECONDS if self._total else 0.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return (self._counts, self._total, self._sum, self._max, self._min) == (
            other._counts,
            other._total,
            other._sum,
            other._max,
            other._min,
        )

    __hash__ = None  # type: ignore[assignment]  # it changes with every sample

    def summary(self) -> Latencies:
        """What people read, in milliseconds."""
        return Latencies(
            count=self._total,
            mean_ms=self.mean * 1e3,
            p50_ms=self.percentile(50) * 1e3,
            p95_ms=self.percentile(95) * 1e3,
            p99_ms=self.percentile(99) * 1e3,
            max_ms=self.max * 1e3,
        )


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of a histogram, in milliseconds."""

    count: int = 0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
