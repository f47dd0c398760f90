"""The bounded queue against a model, between threads and loops, and with those who leave."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from duende.errors import ConfigError, QueueFullError
from duende.policy.queue import BoundedQueue, Shed
from duende.testing.clock import ManualClock


class Model(RuleBasedStateMachine):
    """A list of all that waits, beside the real one."""

    @initialize(limit=st.integers(1, 4), shed=st.sampled_from(Shed))
    def begin(self, limit: int, shed: Shed) -> None:
        """An empty queue."""
        self.clock = ManualClock()
        self.queue: BoundedQueue[int] = BoundedQueue(limit, shed=shed, clock=self.clock)
        self.waiting: list[tuple[int, int, float]] = []  # (priority, number, until)
        self.number = self.rejected = self.taken = self.dropped = self.expired = 0

    def _fits(self, priority: int) -> bool:
        if len(self.waiting) < self.queue.limit:
            return True
        now = self.clock.monotonic()
        alive = [each for each in self.waiting if each[2] > now]
        self.expired += len(self.waiting) - len(alive)
        self.waiting = alive
        if len(self.waiting) < self.queue.limit:
            return True
        if self.queue.shed is Shed.DROP_OLDEST:
            victim = min(self.waiting, key=lambda each: each[1])
        elif self.queue.shed is Shed.DROP_LOWEST and min(self.waiting)[0] < priority:
            victim = min(self.waiting, key=lambda each: (each[0], -each[1]))
        else:
            return False
        self.waiting.remove(victim)
        self.dropped += 1
        return True

    @rule(priority=st.integers(-1, 1), within=st.sampled_from([None, 1.0, 3.0]))
    def offer(self, priority: int, within: float | None) -> None:
        """Something comes."""
        self.number += 1
        try:
            self.queue.offer(self.number, priority=priority, within=within)
            accepted = True
        except QueueFullError:
            accepted = False
        assert accepted == self._fits(priority)
        if accepted:
            until = float("inf") if within is None else self.clock.monotonic() + within
            self.waiting.append((priority, self.number, until))
        else:
            self.rejected += 1

    @rule()
    def poll(self) -> None:
        """Something is taken."""
        expected = None
        while self.waiting and expected is None:
            first = min(self.waiting, key=lambda each: (-each[0], each[1]))
            self.waiting.remove(first)
            if first[2] <= self.clock.monotonic():
                self.expired += 1
            else:
                expected = first[1]
                self.taken += 1
        assert self.queue.poll() == expected

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @invariant()
    def same(self) -> None:
        """Never more than the limit, and every item is accounted for."""
        if not hasattr(self, "queue"):
            return
        counts = self.queue.counts
        assert len(self.queue) == len(self.waiting) <= self.queue.limit
        assert (counts.rejected, counts.taken, counts.dropped, counts.expired) == (
            self.rejected, self.taken, self.dropped, self.expired,
        )  # fmt: skip
        assert counts.accepted == counts.taken + counts.dropped + counts.expired + len(self.queue)
        assert counts.high_water <= self.queue.limit


TestModel = Model.TestCase


def test_backpressure_holds_producers_in_their_order() -> None:
    """A producer waits while the queue is full, and those who wait get in in their order."""

    async def whole() -> list[int]:
        queue: BoundedQueue[int] = BoundedQueue(2)
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(queue.put(number))
            await asyncio.sleep(0)
            assert len(queue) == 2
            return [await queue.get() for _ in range(6)]

    assert asyncio.run(whole()) == list(range(6))


def test_who_leaves_takes_no_turn_along() -> None:
    """A consumer or producer that is cancelled, before or after its turn came, loses nothing for others."""

    async def whole() -> None:
        queue: BoundedQueue[int] = BoundedQueue(1)
        for early in (True, False):
            first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
            await asyncio.sleep(0)
            if early:
                first.cancel()
            queue.offer(1)
            if not early:
                first.cancel()  # its turn is on its way already
            assert await asyncio.wait_for(second, 5) == 1
            assert first.cancelled() or await asyncio.gather(first, return_exceptions=True)
        queue.offer(1)
        one, two = asyncio.create_task(queue.put(2)), asyncio.create_task(queue.put(3))
        await asyncio.sleep(0)
        assert queue.poll() == 1
        one.cancel()
        await asyncio.wait_for(two, 5)
        assert queue.poll() == 3

    asyncio.run(whole())


def test_threads_feed_a_loop() -> None:
    """Every item of several threads arrives once in a loop that waits."""
    queue: BoundedQueue[int] = BoundedQueue(10_000)

    def feed(base: int) -> None:
        for number in range(200):
            queue.offer(base + number)

    async def whole() -> list[int]:
        threads = [threading.Thread(target=feed, args=(1000 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        found = [await asyncio.wait_for(queue.get(), 20) for _ in range(800)]
        for thread in threads:
            thread.join(20)
        return found

    found = asyncio.run(whole())
    assert sorted(found) == sorted(1000 * base + number for base in range(4) for number in range(200))


def test_a_new_limit_lets_in_who_waits() -> None:
    """A higher limit is in force at once; a lower one keeps what is there."""

    async def whole() -> None:
        queue: BoundedQueue[int] = BoundedQueue(1, name="jobs")
        queue.offer(1)
        waiting = asyncio.create_task(queue.put(2))
        await asyncio.sleep(0)
        queue.configure(limit=3, shed=Shed.REJECT_NEWEST)
        await asyncio.wait_for(waiting, 5)
        queue.configure(limit=1, shed=Shed.REJECT_NEWEST)
        assert len(queue) == 2
        with pytest.raises(QueueFullError, match="queue 'jobs' is full: 1 items wait"):
            queue.offer(3)
        with pytest.raises(ConfigError, match="limit = 0"):
            queue.configure(limit=0, shed=Shed.REJECT_NEWEST)

    asyncio.run(whole())
