"""A history of samples that never grows: a ring of fixed records, made once."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

from duende.errors import ConfigError

LARGEST = 1 << 31
"""Bytes of one ring."""


class RingBuffer:
    """The last *capacity* samples: each a time and *width* numbers, as C doubles in one block of memory.

    A push overwrites the oldest sample once the ring is full; it takes the same time however many there are, and allocates nothing that stays.
    Times must not go backwards (CLOCK_MONOTONIC does not), so that a range of them is found by bisection.
    """

    __slots__ = (
        "_at",
        "_block",
        "_last",
        "_next",
        "_pack",
        "_size",
        "_stride",
        "_total",
        "capacity",
        "overwritten",
        "width",
    )

    def __init__(self, capacity: int, width: int = 1) -> None:
        """An empty ring, with all its memory.

        Raises:
            ConfigError: *capacity* or *width* is below 1, or both together are more than 2 GiB.
        """
        if capacity < 1 or width < 1:
            raise ConfigError(
                f"a ring of {capacity} samples of {width} numbers",
                remedy="use 1 or more of both",
                key="capacity",
            )
        record = struct.Struct(f"={1 + width}d")
        if capacity * record.size > LARGEST:
            raise ConfigError(
                f"a ring of {capacity} samples takes {capacity * record.size} bytes",
                remedy=f"use {LARGEST // record.size} or fewer",
                key="capacity",
            )
        self.capacity = capacity
        self.width = width
        self.overwritten = 0
        """How many samples went to make room for others."""
        self._pack = record.pack_into
        self._stride = record.size
        self._total = capacity * record.size
        self._block = bytearray(self._total)
        self._at = memoryview(self._block).cast("d")
        self._next = 0
        """Offset in bytes of the place for the next sample."""
        self._size = 0
        self._last = -math.inf

    def __len__(self) -> int:
        return self._size

    def push(self, at: float, *values: float) -> None:
        """Add a sample of the time *at*.

        Raises:
            ValueError: *at* is before the last sample, or is no number.
            struct.error: there are not `width` values, or one is no number.
        """
        if not at >= self._last:
            raise ValueError(f"a sample of {at} after one of {self._last}")
        place = self._next
        self._pack(self._block, place, at, *values)
        place += self._stride
        self._next = place if place < self._total else 0
        if self._size < self.capacity:
            self._size += 1
        else:
            self.overwritten += 1
        self._last = at

    def pop(self) -> tuple[float, ...] | None:
        """Take the oldest sample out, (time, number, ...); None of an empty ring."""
        if not self._size:
            return None
        found = self[0]
        self._size -= 1
        return found

    def __getitem__(self, index: int) -> tuple[float, ...]:
        """The sample of that place, 0 is the oldest and -1 the newest.

        Raises:
            IndexError: there is none.
        """
        if index < 0:
            index += self._size
        if not 0 <= index < self._size:
            raise IndexError(f"sample {index} of {self._size}")
        start = self._place(index)
        return tuple(self._at[start : start + 1 + self.width])

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return (self[index] for index in range(self._size))

    def between(self, start: float, end: float = math.inf) -> list[tuple[float, ...]]:
        """Every sample of a time from *start* to *end*, both included, oldest first."""
        return [
            self[index] for index in range(self._bisect(start, after=False), self._bisect(end, after=True))
        ]

    def series(self, number: int, last: int | None = None) -> list[float]:
        """The values of column *number*, 0 is the first after the time, of the *last* samples; for a sparkline.

        Raises:
            IndexError: there is no such column.
        """
        if not 0 <= number < self.width:
            raise IndexError(f"column {number} of {self.width}")
        count = self._size if last is None else min(last, self._size)
        return [self[index][1 + number] for index in range(self._size - count, self._size)]

    def dump(self) -> bytes:
        """All samples as doubles in the order of time, for a file."""
        first = 8 * self._place(0)
        end = first + self._size * self._stride
        return bytes(self._block[first : min(end, self._total)]) + bytes(
            self._block[: max(0, end - self._total)]
        )

    def load(self, raw: bytes) -> None:
        """Take over what `dump` gave, the newest of it as far as it fits; what was in the ring goes.

        Raises:
            ValueError: these are no whole samples, or their times go backwards.
        """
        count, rest = divmod(len(raw), self._stride)
        if rest:
            raise ValueError(f"{len(raw)} bytes are no whole samples of {self._stride}")
        kept = min(count, self.capacity)
        tail = raw[(count - kept) * self._stride :]
        times: Sequence[float] = memoryview(tail).cast("d")[:: 1 + self.width] if kept else ()
        last = -math.inf
        for at in times:
            if not at >= last:
                raise ValueError(f"a sample of {at} after one of {last}")
            last = at
        self._block[: len(tail)] = tail
        self._next, self._size, self._last = len(tail) % self._total, kept, last

    def _place(self, index: int) -> int:
        """Where the sample of that place begins, in doubles."""
        return (self._next - (self._size - index) * self._stride) % self._total // 8

    def _bisect(self, at: float, *, after: bool) -> int:
        """The place of the first sample that is not before *at*, or with *after* of the first that is after it."""
        low, high = 0, self._size
        while low < high:
            middle = (low + high) // 2
            found = self._at[self._place(middle)]
            if found < at or (after and found == at):
                low = middle + 1
            else:
                high = middle
        return low
