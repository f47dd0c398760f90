"""The ring against a list: whatever is pushed, popped and asked for, both say the same."""

from __future__ import annotations

import math
import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from duende.errors import ConfigError
from duende.observe.ring import RingBuffer

STEPS = st.floats(0.0, 10.0, allow_nan=False)
VALUES = st.floats(allow_nan=False, allow_infinity=False)


class AgainstAList(RuleBasedStateMachine):
    """Every operation, in any order."""

    @initialize(capacity=st.integers(1, 9), width=st.integers(1, 3))
    def made(self, capacity: int, width: int) -> None:
        """An empty ring."""
        self.ring = RingBuffer(capacity, width)
        self.model: deque[tuple[float, ...]] = deque(maxlen=capacity)
        self.width, self.at = width, 0.0

    @rule(step=STEPS, value=VALUES)
    def push(self, step: float, value: float) -> None:
        """A sample comes."""
        self.at += step
        self.ring.push(self.at, *[value] * self.width)
        self.model.append((self.at, *[value] * self.width))

    @rule()
    def pop(self) -> None:
        """The oldest goes."""
        assert self.ring.pop() == (self.model.popleft() if self.model else None)

    @rule(start=st.floats(-1, 100), end=st.floats(-1, 100))
    def between(self, start: float, end: float) -> None:
        """A range is asked for."""
        assert self.ring.between(start, end) == [each for each in self.model if start <= each[0] <= end]

    @rule()
    def kept(self) -> None:
        """It is written down, and read into a larger and into a smaller one."""
        raw = self.ring.dump()
        for capacity in (1, len(self.model) + 3):
            again = RingBuffer(capacity, self.width)
            again.load(raw)
            assert list(again) == list(self.model)[-capacity:]
            again.push(self.at, *[0.0] * self.width)

    @invariant()
    def the_same(self) -> None:
        """What is in it."""
        if hasattr(self, "ring"):
            assert list(self.ring) == list(self.model)
            assert len(self.ring) == len(self.model)
            assert self.ring.series(0, 2) == [each[1] for each in list(self.model)[-2:]]


TestAgainstAList = AgainstAList.TestCase


def test_what_is_refused() -> None:
    """A ring of nothing, one larger than memory, a time that goes back, a sample of another width."""
    for capacity, width in ((0, 1), (1, 0), (1 << 30, 1)):
        with pytest.raises(ConfigError):
            RingBuffer(capacity, width)
    ring = RingBuffer(2)
    ring.push(1.0, 5.0)
    for at in (0.5, math.nan):
        with pytest.raises(ValueError, match=r"after one of 1\.0"):
            ring.push(at, 5.0)
    with pytest.raises(struct.error):
        ring.push(2.0)
    assert list(ring) == [(1.0, 5.0)]
    for index in (1, -2):
        with pytest.raises(IndexError):
            ring[index]
    with pytest.raises(IndexError):
        ring.series(1)


@given(st.binary(max_size=200))
def test_a_dump_that_is_none(raw: bytes) -> None:
    """Any bytes are samples in the order of time, or an error; what was in the ring is there still then."""
    ring = RingBuffer(4)
    ring.push(1.0, 2.0)
    try:
        ring.load(raw)
    except ValueError:
        assert list(ring) == [(1.0, 2.0)]
    else:
        assert len(ring) == min(4, len(raw) // 16)
