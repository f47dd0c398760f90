"""Attempts on breaker, queue and rate limiter: the shipped code, with time by hand where time is all that matters, and real threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from duende.errors import CircuitOpenError, QueueFullError
from duende.policy.breaker import CircuitBreaker, CircuitState
from duende.policy.queue import BoundedQueue
from duende.policy.rate import RateLimiter
from duende.testing.clock import ManualClock
from falsification.kit import Trial, attempt

THREADS = 8


def together(body: Callable[[int], None], threads: int = THREADS) -> None:
    """Run *body* in so many threads that begin at once."""
    start = threading.Barrier(threads)

    def run(number: int) -> None:
        start.wait(20)
        body(number)

    made = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in made:
        thread.start()
    for thread in made:
        thread.join(30)


def broken() -> None:
    """What a breaker guards."""
    raise ConnectionError("the peer is down")


def state_of(breaker: CircuitBreaker) -> CircuitState:
    """Its state: a call, of which a type checker does not think that it stays the same."""
    return breaker.state


def opened(clock: ManualClock, failures: int, **options: Any) -> CircuitBreaker:
    """A breaker after so many failures."""
    breaker = CircuitBreaker("peer", failure_threshold=failures, clock=clock, **options)
    for _ in range(failures):
        try:
            breaker(broken)()
        except ConnectionError:
            pass
    return breaker


@attempt("F065", level="logic", saboteurs=["breaker-counts-one-failure-too-many", "breaker-never-opens"])
def test_n_failures_open_the_circuit(trial: Trial) -> None:
    """After exactly N failures in a row, from one thread or many, the circuit is open and nothing gets through."""
    trial.situation("a circuit was driven to its threshold", at_least=100)
    for failures in range(1, 101):
        breaker = CircuitBreaker("peer", failure_threshold=failures, clock=ManualClock())
        for _ in range(failures - 1):
            breaker.allow()
            breaker.record_failure()
        trial.check(
            state_of(breaker) is CircuitState.CLOSED, f"{failures - 1} of {failures} failures leave it closed"
        )
        breaker.allow()
        breaker.record_failure()
        trial.check(state_of(breaker) is CircuitState.OPEN, f"{failures} failures open it")
        trial.check(not breaker.allow(), "nothing gets through")
        trial.reached("a circuit was driven to its threshold")
    shared = CircuitBreaker("peer", failure_threshold=THREADS * 50, clock=ManualClock())
    guarded, passed = shared(broken), []

    def fail(_: int) -> None:
        for _ in range(60):
            try:
                guarded()
            except ConnectionError:
                passed.append(1)
            except CircuitOpenError:
                pass

    together(fail)
    trial.check(
        state_of(shared) is CircuitState.OPEN and shared.trips == 1, "failures of many threads open it once"
    )
    trial.check(len(passed) >= THREADS * 50, f"and not before the last: {len(passed)} got through")
    trial.figure("thresholds tried", 101, unit="circuits")


@attempt("F066", level="logic", saboteurs=["breaker-stays-half-open", "breaker-never-recovers"])
def test_the_circuit_closes_after_its_timeout(trial: Trial) -> None:
    """Once the timeout is over it is half-open, and closed when its probes have succeeded; by hand and in real time."""
    trial.situation("an open circuit became closed", at_least=2)
    for clock, timeout in ((ManualClock(), 30.0), (None, 0.2)):
        options: dict[str, Any] = {} if clock is None else {"clock": clock}
        breaker = CircuitBreaker("peer", failure_threshold=2, recovery_timeout=timeout, **options)
        for _ in range(2):
            breaker.allow()
            breaker.record_failure()
        trial.check(not breaker.allow(), "before the timeout nothing gets through")
        began = time.monotonic()
        if clock is not None:
            clock.advance(timeout - 0.001)
            trial.check(not breaker.allow(), "nor a millisecond before")
            clock.advance(0.001)
        while not breaker.allow():
            trial.check(
                time.monotonic() - began < timeout + 5, "it lets a probe through once the timeout is over"
            )
            time.sleep(0.001)
        trial.check(state_of(breaker) is CircuitState.HALF_OPEN, "and is half-open")
        breaker.record_success()
        for _ in range(2):
            trial.check(
                breaker.allow(), "each further probe gets through once the one before it has succeeded"
            )
            breaker.record_success()
        trial.check(state_of(breaker) is CircuitState.CLOSED, "after three it is closed")
        trial.reached("an open circuit became closed")


@attempt("F067", level="logic", saboteurs=["breaker-lets-a-flood-through", "breaker-lets-no-probe-through"])
def test_a_bounded_number_of_probes_gets_through(trial: Trial) -> None:
    """After the timeout one request is processed, and of a thousand from many threads no more than the bound at a time."""
    trial.situation("many threads asked a half-open circuit at once", at_least=20)
    most, lock = 0, threading.Lock()
    for probes in (1, 2, 3):
        for _ in range(trial.rounds(normal=20, under_saboteur=10)):
            clock = ManualClock()
            breaker = opened(clock, 1, probes=probes, successes=100)
            clock.advance(30.0)
            inside, peak = 0, 0
            processed: list[int] = []

            def call(
                number: int, breaker: CircuitBreaker = breaker, processed: list[int] = processed
            ) -> None:
                nonlocal inside, peak
                for _ in range(10):
                    try:
                        with breaker.guard():
                            with lock:
                                inside += 1
                                peak = max(peak, inside)
                            time.sleep(0)  # let others ask meanwhile
                            processed.append(number)
                            with lock:
                                inside -= 1
                    except CircuitOpenError:
                        pass

            together(call)
            trial.check(processed, "a request is processed")
            trial.check(peak <= probes, f"never more than {probes} at a time, not {peak}")
            most = max(most, peak)
            trial.reached("many threads asked a half-open circuit at once")
    trial.figure("probes at a time, of 3 allowed", most, unit="probes")


@attempt("F068", level="logic", saboteurs=["queue-takes-one-too-many", "queue-drops-in-silence"])
def test_a_full_queue_rejects(trial: Trial) -> None:
    """What is offered to a full queue is rejected, its producer told, and nothing that waited is lost; from one thread and many."""
    trial.situation("a full queue was offered more", at_least=100)
    for limit in range(1, 101):
        queue: BoundedQueue[int] = BoundedQueue(limit)
        for number in range(limit):
            queue.offer(number)
        try:
            queue.offer(limit)
            told = False
        except QueueFullError:
            told = True
        trial.check(told, f"item {limit + 1} is refused by a queue of {limit}")
        trial.check(
            [queue.poll() for _ in range(limit)] == list(range(limit)), "what waited is all there, in order"
        )
        trial.check(queue.poll() is None, "and nothing else")
        trial.reached("a full queue was offered more")
    shared: BoundedQueue[int] = BoundedQueue(500)
    refused: list[int] = []

    def produce(number: int) -> None:
        for item in range(200):
            try:
                shared.offer(1000 * number + item)
            except QueueFullError:
                refused.append(1)

    together(produce)
    trial.check(
        (len(shared), len(refused)) == (500, THREADS * 200 - 500),
        f"many threads: {len(shared)} in, {len(refused)} refused",
    )
    trial.figure("refused", len(refused) + 100, unit="items")


@attempt("F069", level="logic", saboteurs=["queue-forgets-its-room", "queue-wakes-nobody"])
async def test_a_drained_queue_accepts(trial: Trial) -> None:
    """A queue that was full takes new items once it is drained, and who waited for room gets it."""
    trial.situation("a full queue was drained", at_least=100)
    trial.situation("a producer waited for room")
    queue: BoundedQueue[int] = BoundedQueue(8)
    for turn in range(100):
        while True:
            try:
                queue.offer(turn)
            except QueueFullError:
                break
        while queue.poll() is not None:
            pass
        trial.reached("a full queue was drained")
        with trial.claimed("a drained queue accepts", QueueFullError):
            queue.offer(turn)
        queue.poll()
    for number in range(8):
        queue.offer(number)
    waiting = asyncio.create_task(queue.put(99))
    await asyncio.sleep(0)
    trial.reached("a producer waited for room", not waiting.done())
    queue.poll()
    with trial.claimed("who waited for room gets it", TimeoutError):
        await asyncio.wait_for(waiting, 2)
    trial.check(len(queue) == 8, "and is in")


@attempt("F070", level="logic", saboteurs=["bucket-refills-too-fast", "bucket-never-refuses"])
def test_excess_is_rejected(trial: Trial) -> None:
    """Sent faster than the rate, no more than burst + rate x time passes and the rest is rejected; from one thread and many, in real time."""
    trial.situation("more was sent than the rate allows", at_least=3)
    for threads, rate, burst in ((1, 500.0, 50), (THREADS, 500.0, 1), (THREADS, 2000.0, 200)):
        sent = [0] * threads
        began = time.monotonic()
        limiter = RateLimiter(rate, burst)
        until = began + trial.rounds(normal=10, under_saboteur=4) / 10

        def send(
            number: int, limiter: RateLimiter = limiter, sent: list[int] = sent, until: float = until
        ) -> None:
            while time.monotonic() < until:
                limiter.try_acquire()
                sent[number] += 1

        together(send, threads)
        took = time.monotonic() - began
        allowed = burst + rate * took
        trial.check(limiter.admitted <= allowed, f"{limiter.admitted} passed, at most {allowed:.0f} may")
        trial.check(
            limiter.admitted >= burst + rate * (until - began) * 0.5,
            f"and no fewer than it should: {limiter.admitted}",
        )
        trial.check(limiter.rejected == sum(sent) - limiter.admitted > 0, "all others were rejected")
        trial.reached("more was sent than the rate allows", sum(sent) > allowed)
        trial.figure(f"passed of what may, {threads} threads", limiter.admitted / allowed * 100, unit="%")
