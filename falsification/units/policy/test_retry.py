"""Retries: how often, how long, and never more than the budget."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError
from duende.policy.retry import Retry, RetryBudget


class Flaky:
    """Fails so many times, then succeeds."""

    def __init__(self, failures: int, error: type[Exception] = OSError) -> None:
        self.left = failures
        self.calls = 0
        self._error = error

    def __call__(self) -> int:
        """Fail, or say how often it was called."""
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self._error("down")
        return self.calls

    async def later(self) -> int:
        """The same, as a coroutine."""
        return self()


def quick(**options: Any) -> Retry:
    """Retries without delay."""
    return Retry(**{"initial_delay": 0.0, "seed": 1, **options})


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_it_is_tried_again(failures: int) -> None:
    """As often as needed, in threads and loops."""
    assert quick().call_blocking(Flaky(failures)) == failures + 1
    assert asyncio.run(quick().call(Flaky(failures).later)) == failures + 1
    function = Flaky(failures)

    @quick()
    async def later() -> int:
        return function()

    assert asyncio.run(later()) == failures + 1
    again = Flaky(failures)

    @quick()
    def plain() -> int:
        return again()

    assert plain() == failures + 1


def test_when_it_ends() -> None:
    """Attempts, an exception that is not worth it, and the deadline; the caller gets the last exception and what was tried."""
    for options, calls, note in (
        ({}, 3, "no attempt is left"),
        ({"attempts": 9, "budget": RetryBudget(0.0, 2.0)}, 3, "budget"),
    ):
        flaky = Flaky(99)
        with pytest.raises(OSError, match="down") as raised:
            quick(**options).call_blocking(flaky)
        assert (flaky.calls, note in raised.value.__notes__[0]) == (calls, True)
    other = Flaky(1, ValueError)
    with pytest.raises(ValueError, match="down"):
        quick(on=OSError).call_blocking(other)
    assert other.calls == 1
    late = Flaky(9)
    with pytest.raises(OSError, match="down") as raised:
        Retry(initial_delay=100.0, max_delay=100.0, deadline=0.0, seed=3).call_blocking(late)
    assert (late.calls, "deadline" in raised.value.__notes__[0]) == (1, True)


@given(ratio=st.floats(0.0, 1.0), reserve=st.integers(0, 20), calls=st.integers(0, 300))
def test_retries_are_a_share_of_the_calls(ratio: float, reserve: int, calls: int) -> None:
    """Where everything fails, retries are at most reserve + ratio x calls."""
    budget = RetryBudget(ratio, reserve)
    retry = quick(attempts=4, budget=budget)
    made = 0
    for _ in range(calls):
        flaky = Flaky(99)
        with pytest.raises(OSError, match="down"):
            retry.call_blocking(flaky)
        made += flaky.calls
    assert made - calls <= reserve + ratio * calls + 1e-6
    assert budget.balance + 1e-9 >= 0
    assert budget.balance <= reserve


@given(
    initial=st.floats(0.0, 1e6),
    multiplier=st.floats(1.0, 1e3),
    longest=st.floats(0.0, 1e6),
    number=st.integers(0, 10_000),
)
def test_delays_are_bounded(initial: float, multiplier: float, longest: float, number: int) -> None:
    """min(initial x multiplier^n, longest), whatever the numbers."""
    delay = Retry(initial_delay=initial, multiplier=multiplier, max_delay=longest).longest_delay(number)
    assert 0 <= delay <= longest


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"initial_delay": -1.0},
        {"multiplier": 0.5},
        {"max_delay": math.inf},
        {"deadline": math.nan},
    ],
)
def test_bad_numbers(options: dict[str, Any]) -> None:
    """One error that names key and value."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        Retry(**options)
    with pytest.raises(ConfigError, match="ratio"):
        RetryBudget(-1.0)


def test_cancellation_is_not_retried() -> None:
    """A task that is cancelled while it waits ends at once."""

    async def whole() -> None:
        flaky = Flaky(9)
        task = asyncio.create_task(Retry(initial_delay=1000.0, max_delay=1000.0, seed=5).call(flaky.later))
        while not flaky.calls:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert flaky.calls == 1

    asyncio.run(whole())
