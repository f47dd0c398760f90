"""The circuit breaker against a model, in threads, and as a guard."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from duende.errors import CircuitOpenError, ConfigError
from duende.policy.breaker import CircuitBreaker, CircuitState
from duende.testing.clock import ManualClock

THRESHOLD, RECOVERY, PROBES, SUCCESSES, PATIENCE = 3, 10.0, 2, 3, 5.0


def made(clock: ManualClock, **options: Any) -> CircuitBreaker:
    """A breaker of small numbers."""
    given = {
        "failure_threshold": THRESHOLD, "recovery_timeout": RECOVERY, "probes": PROBES, "successes": SUCCESSES,
        "probe_timeout": PATIENCE,
    }  # fmt: skip
    return CircuitBreaker("db", clock=clock, **{**given, **options})


def state_of(breaker: CircuitBreaker) -> CircuitState:
    """Its state: a call, of which a type checker does not think that it stays the same."""
    return breaker.state


class Model(RuleBasedStateMachine):
    """The table of states, written as plainly as can be, beside the real one."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.breaker = made(self.clock)
        self.state, self.failures, self.good, self.opened, self.era = "closed", 0, 0, 0.0, 0
        self.probing: dict[int, float] = {}
        self.eras: dict[int, int] = {}
        self.changes: list[tuple[str, str]] = []
        self.breaker.listen(lambda old, new: self.changes.append((old.value, new.value)))

    def _become(self, state: str) -> None:
        self.state, self.failures, self.good, self.era = state, 0, 0, self.era + 1
        self.probing.clear()
        if state == "open":
            self.opened = self.clock.monotonic()

    def _look(self) -> None:
        if self.state == "open" and self.clock.monotonic() - self.opened >= RECOVERY:
            self._become("half-open")

    @rule(target=permits)
    def ask(self) -> tuple[int, int]:
        """A call asks to pass."""
        permit = self.breaker.acquire()
        self._look()
        if self.state == "half-open":
            now = self.clock.monotonic()
            self.probing = {each: until for each, until in self.probing.items() if until > now}
            expected = len(self.probing) < min(PROBES, SUCCESSES - self.good)
            if expected:
                self.probing[permit] = now + PATIENCE
        else:
            expected = self.state == "closed"
        assert bool(permit) == expected
        return permit, self.era

    @rule(taken=consumes(permits), ok=st.sampled_from([True, False, None]))
    def tell(self, taken: tuple[int, int], ok: bool | None) -> None:
        """A call that was let through, or not, says how it went."""
        permit, era = taken
        self.breaker.settle(permit, ok)
        if not permit or era != self.era:
            return
        if self.state == "closed":
            self.failures = 0 if ok else self.failures + (ok is False)
            if self.failures >= THRESHOLD:
                self._become("open")
        elif self.probing.pop(permit, None) is not None:
            self.good += bool(ok)
            if ok is False:
                self._become("open")
            elif self.good >= SUCCESSES:
                self._become("closed")

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.9, 5.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule()
    def reset(self) -> None:
        """An operator closes it."""
        self.breaker.reset()
        self._become("closed")

    @invariant()
    def same(self) -> None:
        """State and counts agree."""
        self._look()
        assert self.breaker.state.value == self.state
        assert self.breaker.failure_count == self.failures
        assert all(old != new for old, new in self.changes)


TestModel = Model.TestCase


def test_words_of_the_contract() -> None:
    """allow, record_failure, record_success, failure_count, reset."""
    clock = ManualClock()
    breaker = made(clock, probes=1)
    for number in range(THRESHOLD):
        assert breaker.allow()
        assert breaker.failure_count == number
        breaker.record_failure()
    assert (state_of(breaker), breaker.allow(), breaker.trips) == (CircuitState.OPEN, False, 1)
    assert breaker.retry_after == RECOVERY
    breaker.record_success()  # of nobody who was let through
    assert state_of(breaker) is CircuitState.OPEN
    clock.advance(RECOVERY)
    for _ in range(SUCCESSES):
        assert state_of(breaker) is CircuitState.HALF_OPEN
        assert (breaker.allow(), breaker.allow()) == (True, False)
        breaker.record_success()
    assert state_of(breaker) is CircuitState.CLOSED
    assert breaker.retry_after == 0.0


def test_probes_of_many_threads_are_bounded() -> None:
    """However many threads ask at once, no more than `probes` get through."""
    clock = ManualClock()
    breaker = made(clock, failure_threshold=1)
    breaker.allow()
    breaker.record_failure()
    clock.advance(RECOVERY)
    start = threading.Barrier(16)
    permits: list[int] = []

    def ask() -> None:
        start.wait(20)
        permits.extend(breaker.acquire() for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len([permit for permit in permits if permit]) == PROBES


def test_as_decorator_and_guard() -> None:
    """Functions and coroutine functions; an exception that does not count opens nothing, and cancellation says nothing."""
    clock = ManualClock()
    breaker = made(clock, counts=OSError)
    calls = []

    @breaker
    def plain(error: BaseException | None) -> str:
        calls.append(1)
        if error is not None:
            raise error
        return "done"

    @breaker
    async def later(error: BaseException | None) -> str:
        return plain(error)

    assert plain(None) == "done"
    for _ in range(5):
        with pytest.raises(ValueError, match="x"):
            plain(ValueError("x"))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(later(asyncio.CancelledError()))
    assert state_of(breaker) is CircuitState.CLOSED
    for _ in range(2):  # each is counted twice: both functions are guarded
        with pytest.raises(OSError, match="down"):
            asyncio.run(later(OSError("down")))
    calls.clear()
    with pytest.raises(CircuitOpenError, match="circuit 'db' is open") as refused:
        plain(None)
    assert (calls, refused.value.retry_after) == ([], RECOVERY)


@pytest.mark.parametrize(
    "options",
    [
        {"failure_threshold": 0},
        {"probes": 0},
        {"successes": -1},
        {"recovery_timeout": float("nan")},
        {"probe_timeout": -1.0},
    ],
)
def test_bad_numbers(options: dict[str, Any]) -> None:
    """One error that names key and value; a circuit in use keeps what it had."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        made(ManualClock(), **options)


def test_configure_keeps_the_state() -> None:
    """New thresholds are in force at once, and an open circuit stays open."""
    clock = ManualClock()
    breaker = made(clock)
    breaker.record_failure()
    breaker.configure(failure_threshold=2, recovery_timeout=1.0, probes=1, successes=1, probe_timeout=1.0)
    assert breaker.failure_count == 1
    breaker.record_failure()
    assert state_of(breaker) is CircuitState.OPEN
    clock.advance(1.0)
    assert state_of(breaker) is CircuitState.HALF_OPEN
