"""Circuit breaker: after so many failures in a row nothing is let through for a while, then a few probes, then everything again.

Closed -> Open after `failure_threshold` consecutive failures. Open -> HalfOpen once `recovery_timeout` is over. HalfOpen lets `probes` calls
at a time through: `successes` good ones close it, one bad one opens it again (M. Nygard, "Release It!", 2nd edition, 5.2).

Whoever is let through holds a permit, and only the permit's own outcome counts: a call that was let through before the circuit opened and
fails long after says nothing about the present.
"""

from __future__ import annotations

import enum
import functools
import inspect
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast

from duende.clock import SYSTEM_CLOCK, Clock
from duende.errors import CircuitOpenError, ConfigError

P = ParamSpec("P")
R = TypeVar("R")


class CircuitState(enum.Enum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


Listener = Callable[[CircuitState, CircuitState], None]
"""Called with the old and the new state, by whoever caused the change, when no lock is held."""


class CircuitBreaker:
    """One circuit. Threads and event loops may share it; nothing in it waits."""

    __slots__ = (
        "_failures",
        "_listeners",
        "_lock",
        "_now",
        "_opened_at",
        "_pass",
        "_permits",
        "_probing",
        "_state",
        "_successes",
        "counts",
        "failure_threshold",
        "name",
        "probe_timeout",
        "probes",
        "recovery_timeout",
        "successes",
        "trips",
    )

    def __init__(
        self,
        name: str = "circuit",
        *,
        failure_threshold: int = 5,
        recovery_timeout: float = 30.0,
        probes: int = 1,
        successes: int = 3,
        probe_timeout: float = 60.0,
        counts: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """A closed circuit. *counts* are the exceptions that are failures of what is called; others, like cancellation, say nothing of it.

        Times are in seconds. A probe that has not reported within *probe_timeout* gives up its place.

        Raises:
            ConfigError: a number makes no sense.
        """
        self.name = name
        self.counts = counts
        self._lock = threading.Lock()
        self._now = clock.monotonic
        self._permits = itertools.count(1)
        self._listeners: list[Listener] = []
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._successes = 0
        self._opened_at = -math.inf
        self._probing: dict[int, float] = {}
        self._pass = next(self._permits)
        """The permit of everybody while the circuit is closed, else 0. One word, so that it can be read without the lock."""
        self.trips = 0
        """How often it opened."""
        self.configure(
            failure_threshold=failure_threshold,
            recovery_timeout=recovery_timeout,
            probes=probes,
            successes=successes,
            probe_timeout=probe_timeout,
        )

    def configure(
        self,
        *,
        failure_threshold: int,
        recovery_timeout: float,
        probes: int,
        successes: int,
        probe_timeout: float,
    ) -> None:
        """Change the thresholds of a circuit in use; its state stays.

        Raises:
            ConfigError: a number makes no sense; nothing is changed then.
        """
        for key, count in (
            ("failure_threshold", failure_threshold),
            ("probes", probes),
            ("successes", successes),
        ):
            if count < 1:
                raise ConfigError(
                    f"{key} = {count!r} of circuit {self.name!r}", remedy="use 1 or more", key=key
                )
        for key, seconds in (("recovery_timeout", recovery_timeout), ("probe_timeout", probe_timeout)):
            if not 0 <= seconds < math.inf:
                raise ConfigError(
                    f"{key} = {seconds!r} of circuit {self.name!r}", remedy="use seconds, 0 or more", key=key
                )
        with self._lock:
            self.failure_threshold = failure_threshold
            self.recovery_timeout = recovery_timeout
            self.probes = probes
            self.successes = successes
            self.probe_timeout = probe_timeout

    def listen(self, listener: Listener) -> None:
        """Call *listener* at every change of state."""
        self._listeners.append(listener)

    # -- looking -------------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> CircuitState:
        """The state now; an open circuit whose time is over is half-open."""
        if self._pass:
            return CircuitState.CLOSED
        with self._lock:
            changed = self._recover()
            found = self._state
        self._tell(changed)
        return found

    @property
    def failure_count(self) -> int:
        """Failures in a row so far, while it is closed."""
        return self._failures

    @property
    def retry_after(self) -> float:
        """Seconds until an open circuit lets a probe through; 0 in other states."""
        with self._lock:
            if self._state is not CircuitState.OPEN:
                return 0.0
            return max(0.0, self._opened_at + self.recovery_timeout - self._now())

    # -- passing -------------------------------------------------------------------------------------------------------------

    def acquire(self) -> int:
        """A permit for one call, 0 where none is let through. Whoever gets one says how it went by `settle`."""
        permit = self._pass
        if permit:
            return permit
        with self._lock:
            changed = self._recover()
            permit = self._admit()
        self._tell(changed)
        return permit

    def settle(self, permit: int, ok: bool | None) -> None:
        """How the call with *permit* went: well, badly, or None where that says nothing of what was called."""
        if ok and permit == self._pass and not self._failures:
            return
        with self._lock:
            changed = self._settle(permit, ok)
        self._tell(changed)

    def allow(self) -> bool:
        """Whether a call may be made now; then say how it went by `record_success` or `record_failure`."""
        return self.acquire() != 0

    def record_success(self) -> None:
        """The call that was allowed last went well. With calls side by side use permits, or `guard`."""
        self.settle(self._current(), True)

    def record_failure(self) -> None:
        """The call that was allowed last went badly."""
        self.settle(self._current(), False)

    def reset(self) -> None:
        """Close the circuit, whatever it was."""
        with self._lock:
            changed = self._become(CircuitState.CLOSED)
        self._tell(changed)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Let the block through, and count how it ends; in coroutines too, as nothing here waits.

        Raises:
            CircuitOpenError: the circuit lets nothing through.
        """
        permit = self.acquire() or self._refuse()
        try:
            yield
        except BaseException as error:
            self.settle(permit, False if isinstance(error, self.counts) else None)
            raise
        self.settle(permit, True)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard every call of *function*, which may be a coroutine function; raises as `guard` does."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                permit = self.acquire() or self._refuse()
                try:
                    result = await function(*args, **kwargs)
                except BaseException as error:
                    self.settle(permit, False if isinstance(error, self.counts) else None)
                    raise
                self.settle(permit, True)
                return result

            return cast(Callable[P, R], later)

        @functools.wraps(function)
        def now(*args: P.args, **kwargs: P.kwargs) -> R:  # `guard` would do, and cost ten times as much
            permit = self.acquire() or self._refuse()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.settle(permit, False if isinstance(error, self.counts) else None)
                raise
            self.settle(permit, True)
            return result

        return now

    def _refuse(self) -> int:
        raise CircuitOpenError(self.name, self.retry_after)

    # -- below: with the lock held -------------------------------------------------------------------------------------------

    def _current(self) -> int:
        permit = self._pass
        if permit:
            return permit
        with self._lock:
            return next(iter(self._probing), 0)

    def _recover(self) -> tuple[CircuitState, CircuitState] | None:
        if self._state is CircuitState.OPEN and self._now() - self._opened_at >= self.recovery_timeout:
            return self._become(CircuitState.HALF_OPEN)
        return None

    def _admit(self) -> int:
        if self._state is not CircuitState.HALF_OPEN:
            return self._pass  # 0, unless it was closed meanwhile
        now = self._now()
        for permit in [permit for permit, until in self._probing.items() if until <= now]:
            del self._probing[permit]
        # No more probes than successes still wanted: the circuit decides by these, and the rest would be a flood.
        if len(self._probing) >= min(self.probes, self.successes - self._successes):
            return 0
        permit = next(self._permits)
        self._probing[permit] = now + self.probe_timeout
        return permit

    def _settle(self, permit: int, ok: bool | None) -> tuple[CircuitState, CircuitState] | None:
        if permit and permit == self._pass:
            if ok:
                self._failures = 0
            elif ok is False:
                self._failures += 1
                if self._failures >= self.failure_threshold:
                    return self._become(CircuitState.OPEN)
            return None
        if self._probing.pop(permit, None) is None:
            return None  # let through in another time
        if ok is False:
            return self._become(CircuitState.OPEN)
        if ok:
            self._successes += 1
            if self._successes >= self.successes:
                return self._become(CircuitState.CLOSED)
        return None

    def _become(self, state: CircuitState) -> tuple[CircuitState, CircuitState]:
        old, self._state = self._state, state
        self._failures = self._successes = 0
        self._probing.clear()
        self._pass = next(self._permits) if state is CircuitState.CLOSED else 0
        if state is CircuitState.OPEN:
            self._opened_at = self._now()
            self.trips += 1
        return old, state

    def _tell(self, changed: tuple[CircuitState, CircuitState] | None) -> None:
        if changed is not None and changed[0] is not changed[1]:
            for listener in self._listeners:
                listener(*changed)
