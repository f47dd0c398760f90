"""What many calls come to: counts, errors and the spread of latencies, in bins of which each is at most a quarter wider than it is long."""

from __future__ import annotations

from collections import Counter

import msgspec

from duende.errors import ConfigError
from duende.observe.trace.call import Call, error_name, name_of

SLOT_NS = 100_000_000
"""Width of a column of the heat map."""
SLOTS = 3000
"""Columns kept: five minutes; what comes later is counted in the last."""
PERCENTILES = (50.0, 90.0, 99.0)


def bin_of(nanoseconds: int) -> int:
    """The bin: four to each power of two."""
    if nanoseconds < 4:
        return max(nanoseconds, 0)
    length = nanoseconds.bit_length()
    return (length << 2) - 8 + ((nanoseconds >> (length - 3)) & 3)


def edge_of(number: int) -> int:
    """The least duration that is in the bin."""
    if number < 4:
        return number
    length, part = (number + 8) >> 2, number & 3
    return (4 + part) << (length - 3)


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """One system call's figures; times in seconds."""

    name: str
    count: int
    errors: dict[str, int]
    """Name of the errno -> how often."""
    total: float
    least: float
    most: float
    percentiles: dict[str, float]
    """"p50" and so on, from bins: at most an eighth off."""


class Histogram:
    """The durations of one system call."""

    __slots__ = ("bins", "count", "errors", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0
        self.bins: Counter[int] = Counter()
        self.errors: Counter[int] = Counter()

    def add(self, call: Call) -> None:
        """Take one in."""
        duration = call.duration
        self.least = duration if self.count == 0 or duration < self.least else self.least
        self.most = max(self.most, duration)
        self.count += 1
        self.total += duration
        self.bins[bin_of(duration)] += 1
        if code := call.error:
            self.errors[code] += 1

    def percentile(self, percent: float) -> float:
        """Nanoseconds that *percent* of the calls took at most: the middle of a bin, within what was really seen.

        Raises:
            ConfigError: no such percentage.
        """
        if not 0 <= percent <= 100:
            raise ConfigError(f"{percent:g} is no percentage", remedy="give one from 0 to 100")
        wanted = percent / 100 * self.count
        seen = 0
        for number in sorted(self.bins):
            seen += self.bins[number]
            if seen >= wanted:
                middle = (edge_of(number) + edge_of(number + 1)) / 2
                return min(max(middle, self.least), self.most)
        return float(self.most)


class Summary:
    """All calls of a trace, as figures."""

    def __init__(self) -> None:
        self.by_number: dict[int, Histogram] = {}
        self.heat: Counter[tuple[int, int]] = Counter()
        """(column of 100 ms, bin) -> calls."""
        self.began = 0
        """When the first call began."""

    def add(self, call: Call) -> None:
        """Take one in."""
        if self.began == 0:
            self.began = call.at
        found = self.by_number.get(call.number)
        if found is None:
            found = self.by_number[call.number] = Histogram()
        found.add(call)
        slot = min(max((call.at + call.duration - self.began) // SLOT_NS, 0), SLOTS - 1)
        self.heat[(slot, bin_of(call.duration))] += 1

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(each.count for each in self.by_number.values())

    def latencies(self) -> list[Latency]:
        """Figures of each system call, the one that took longest in all first."""
        order = sorted(self.by_number.items(), key=lambda item: (-item[1].total, item[0]))
        return [
            Latency(
                name=name_of(number),
                count=each.count,
                errors={error_name(code): count for code, count in each.errors.most_common()},
                total=each.total / 1e9,
                least=each.least / 1e9,
                most=each.most / 1e9,
                percentiles={f"p{percent:g}": each.percentile(percent) / 1e9 for percent in PERCENTILES},
            )
            for number, each in order
        ]
