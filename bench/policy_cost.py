"""What a decision of the runtime policy costs beside the popular packages for the same thing: `python -m bench.policy_cost [ROUNDS]`.

A table, and bench/out/policy_cost.json. Every loop is timed in blocks, and the blocks of all contenders are interleaved, so that a noisy machine is
noisy for all; a figure is the median block's time for one decision, in microseconds. What is awaited is stepped by hand where it never waits: an
event loop would cost more than what is measured, and the same for all.
"""

from __future__ import annotations

import asyncio
import collections
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiolimiter
import pybreaker
import tenacity
from purgatory import AsyncCircuitBreakerFactory

from bench.machine import report
from duende.policy.breaker import CircuitBreaker
from duende.policy.queue import BoundedQueue
from duende.policy.rate import RateLimiter
from duende.policy.retry import Retry

BLOCK = 2000
"""Decisions in one block."""
HERO, BARE = "duende", "bare"
AIM = 1.0
"""Microseconds: what one decision of ours may take at the median."""
Loop = Callable[[int], None]
"""Makes so many decisions."""


def step(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that never waits to its end.

    Raises:
        RuntimeError: it waits.
    """
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("it waits: this is no decision")


def calls(one: Callable[[], object]) -> Loop:
    """A loop of plain calls."""

    def loop(count: int) -> None:
        for _ in range(count):
            one()

    return loop


def awaits(one: Callable[[], Coroutine[Any, Any, Any]]) -> Loop:
    """A loop of awaits."""

    async def all_of(count: int) -> None:
        for _ in range(count):
            await one()

    return lambda count: step(all_of(count))


def nothing() -> None:
    """What is guarded."""


async def nothing_later() -> None:
    """What is guarded and awaited."""


def decisions() -> dict[str, dict[str, Loop]]:
    """Row -> contender -> loop."""
    breaker = CircuitBreaker("bench", failure_threshold=5, recovery_timeout=1.0)
    peer_breaker = pybreaker.CircuitBreaker(fail_max=5)
    factory = AsyncCircuitBreakerFactory(default_threshold=5)
    limiter = RateLimiter(rate=1e12, burst=1e12)
    peer_limiter = aiolimiter.AsyncLimiter(1e12, 1.0)
    ours: BoundedQueue[int] = BoundedQueue(limit=64)
    plain: collections.deque[int] = collections.deque()
    peer_queue: asyncio.Queue[int] = asyncio.Queue(64)
    retry = Retry(attempts=3, initial_delay=0.1)
    peer_retry = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3))

    async def purgatory() -> None:
        async with await factory.get_breaker("bench"):
            pass

    def through_ours() -> None:
        ours.offer(1)
        ours.poll()

    def through_peer() -> None:
        peer_queue.put_nowait(1)
        peer_queue.get_nowait()

    def through_plain() -> None:
        plain.append(1)
        plain.popleft()

    return {
        "breaker, permit and outcome": {HERO: calls(lambda: breaker.settle(breaker.acquire(), ok=True))},
        "breaker, a guarded call": {
            HERO: calls(breaker(nothing)),
            "pybreaker": calls(lambda: peer_breaker.call(nothing)),
            BARE: calls(nothing),
        },
        "breaker, an awaited call": {
            HERO: awaits(breaker(nothing_later)),
            "purgatory": awaits(purgatory),
            BARE: awaits(nothing_later),
        },
        "limiter, try": {HERO: calls(limiter.try_acquire), "aiolimiter": calls(peer_limiter.has_capacity)},
        "limiter, awaited": {HERO: awaits(limiter.acquire), "aiolimiter": awaits(peer_limiter.acquire)},
        "queue, in and out": {
            HERO: calls(through_ours),
            "asyncio.Queue": calls(through_peer),
            BARE: calls(through_plain),
        },
        "retry, a call that succeeds": {
            HERO: awaits(retry(nothing_later)),
            "tenacity": awaits(peer_retry.wraps(nothing_later)),
            BARE: awaits(nothing_later),
        },
    }


DECISIONS = {"queue, in and out": 2}
"""Decisions in one turn of a loop, where they are more than one."""


def measured(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds for one decision: row, contender, blocks."""

    async def whole() -> dict[str, dict[str, list[float]]]:
        found: dict[str, dict[str, list[float]]] = {}
        for row, contenders in decisions().items():
            taken = found[row] = {name: [] for name in contenders}
            for loop in contenders.values():
                loop(BLOCK)
            for _ in range(rounds):
                for name, loop in contenders.items():
                    began = time.perf_counter()
                    loop(BLOCK)
                    each = (time.perf_counter() - began) / BLOCK / DECISIONS.get(row, 1)
                    taken[name].append(each * 1e6)
        return found

    return asyncio.run(whole())


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """Lines of at most 100 columns."""
    lines = [f"{'one decision, us at the median':<32}{HERO:>9}{'aim':>7}   others"]
    for row, contenders in found.items():
        medians = {name: statistics.median(values) for name, values in contenders.items()}
        mine = medians.pop(HERO)
        others = "; ".join(f"{name} {each:.2f} ({each / mine:.1f}x)" for name, each in medians.items())
        lines.append(f"{row:<32}{mine:>9.2f}{f'< {AIM:g}':>7}   {others}")
    return lines


def main(rounds: int) -> int:
    """Measure, print the table, write the JSON."""
    found = measured(rounds)
    print("\n".join(table(found)))
    report("policy_cost", rounds=rounds, block=BLOCK, samples_us=found)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
