"""The token bucket: its law, fairness, cancellation."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError, RateLimitedError
from duende.policy.rate import RateLimiter
from duende.testing.clock import ManualClock


@given(
    rate=st.floats(0.1, 1000.0),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 5)), max_size=60),
)
def test_no_span_admits_more_than_its_law(rate: float, burst: int, steps: list[tuple[float, int]]) -> None:
    """In any span of t seconds at most burst + rate x t pass; and a refusal means that the bucket really lacked them."""
    clock = ManualClock()
    limiter = RateLimiter(rate, burst, clock=clock)
    passed: list[tuple[float, int]] = []
    level, at = float(burst), clock.monotonic()  # the model
    for wait, tokens in steps:
        clock.advance(wait)
        now = clock.monotonic()
        level, at = min(burst, level + (now - at) * rate), now
        admitted = limiter.try_acquire(tokens)
        if math.isclose(level, tokens, abs_tol=1e-6):
            level = level - tokens if admitted else level  # either is right to the last bit
        else:
            assert admitted == (level > tokens)
            level -= tokens if admitted else 0
        if admitted:
            passed.append((now, tokens))
    for first, (begin, _) in enumerate(passed):
        total = 0
        for end, tokens in passed[first:]:
            total += tokens
            assert total <= burst + rate * (end - begin) + 1e-6
    assert (limiter.admitted, limiter.rejected) == (len(passed), len(steps) - len(passed))


def test_threads_do_not_overdraw() -> None:
    """With time standing still, many threads together get exactly the burst."""
    limiter = RateLimiter(1.0, 100, clock=ManualClock())
    start = threading.Barrier(8)
    passed: list[bool] = []

    def ask() -> None:
        start.wait(20)
        passed.extend(limiter.try_acquire() for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(passed) == 100


def test_those_who_wait_are_served_in_order() -> None:
    """First come, first served; who waits is not overtaken by who does not."""

    async def whole() -> list[int]:
        limiter = RateLimiter(200.0, 1)
        order: list[int] = []

        async def one(number: int) -> None:
            await limiter.acquire()
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(one(number))
            await asyncio.sleep(0)
            assert not limiter.try_acquire()
        return order

    assert asyncio.run(whole()) == list(range(6))


def test_who_gives_up_gives_back() -> None:
    """A cancelled wait leaves the bucket as if it had never been."""
    clock = ManualClock()

    async def whole() -> None:
        limiter = RateLimiter(1.0, 2, clock=clock)
        assert limiter.try_acquire(2)
        task = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0)
        assert limiter.level == -1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (limiter.level, limiter.admitted) == (0, 1)
        with pytest.raises(RateLimitedError, match="try again in 2 s") as refused:
            await limiter.acquire(2, timeout=1.0)
        assert refused.value.retry_after == 2.0
        with pytest.raises(RateLimitedError):
            await limiter.acquire(3)
        assert limiter.level == 0

    asyncio.run(whole())


def test_as_decorator_and_manager() -> None:
    """A coroutine function waits, any other is refused."""
    limiter = RateLimiter(1000.0, 1, clock=ManualClock())

    @limiter
    def plain() -> int:
        return 1

    @limiter
    async def later() -> int:
        return 2

    assert plain() == 1
    with pytest.raises(RateLimitedError):
        plain()
    with pytest.raises(RateLimitedError), limiter:
        pass
    assert asyncio.run(later()) == 2
    limiter.acquire_blocking(timeout=1.0)


@pytest.mark.parametrize(
    ("rate", "burst"), [(0.0, 1), (-1.0, 1), (math.nan, 1), (math.inf, 1), (1.0, 0.5), (1.0, math.nan)]
)
def test_bad_numbers(rate: float, burst: float) -> None:
    """One error; a limiter in use keeps what it had."""
    with pytest.raises(ConfigError):
        RateLimiter(rate, burst)
    limiter = RateLimiter(2.0, 3)
    with pytest.raises(ConfigError):
        limiter.configure(rate=rate, burst=burst)
    assert (limiter.rate, limiter.burst) == (2.0, 3.0)


def test_a_smaller_bucket_spills() -> None:
    """After a change what does not fit is gone, and the new rate counts from now."""
    clock = ManualClock()
    limiter = RateLimiter(1.0, 10, clock=clock)
    limiter.configure(rate=5.0, burst=2)
    assert limiter.level == 2
    assert limiter.try_acquire(2)
    clock.advance(0.2)
    assert limiter.try_acquire()
