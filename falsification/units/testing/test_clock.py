"""The clock moved by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.clock import SYSTEM_CLOCK, Clock
from duende.testing import ManualClock


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_timers_fire_in_order_at_their_time(delays: list[float]) -> None:
    """Every timer fires once, in the order of time, and sees its own time on the clock."""
    clock = ManualClock()
    fired: list[float] = []
    for delay in delays:
        clock.call_later(delay, lambda: fired.append(clock.monotonic() - 1000.0))
    clock.advance(2e6)
    assert fired == pytest.approx(sorted(delays))
    assert clock.pending == 0
    assert clock.monotonic() == 1000.0 + 2e6


def test_timers_may_add_timers() -> None:
    """A timer set while time passes fires on the way if it is due."""
    clock = ManualClock()
    fired: list[str] = []
    clock.call_later(1, lambda: clock.call_later(1, lambda: fired.append("second")))
    clock.advance(1.5)
    assert fired == []
    clock.advance(0.5)
    assert fired == ["second"]


def test_the_wall_clock_may_step() -> None:
    """Wall time steps alone and moves along; monotonic time never goes back."""
    clock: Clock = (manual := ManualClock(wall=100.0))
    manual.step_wall(-50)
    manual.advance(2)
    assert (clock.wall(), clock.monotonic()) == (52.0, 1002.0)
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="cannot advance"):
            manual.advance(seconds)


def test_the_system_clock_moves_forward() -> None:
    """The default clock is monotonic, and its wall time is this century's."""
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
    assert SYSTEM_CLOCK.wall() > 1_600_000_000
