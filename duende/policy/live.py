"""The policy of a running daemon: its breakers, limiters, queues and retries by name, changed while they are in use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from duende.config.policy import BreakerConfig, PolicyConfig, QueueConfig, RetryConfig
from duende.errors import NotFoundError
from duende.policy.breaker import CircuitBreaker, CircuitState
from duende.policy.queue import BoundedQueue, Shed
from duende.policy.rate import RateLimiter
from duende.policy.retry import Retry, RetryBudget

C = TypeVar("C")


class LivePolicy:
    """What `ctx.policy` is. One object for each name, made on first use; a change reaches those that are there already."""

    def __init__(self, config: PolicyConfig, on_trip: Callable[[], object] | None = None) -> None:
        """By *config*; *on_trip* is called whenever a breaker opens."""
        self.config = config
        self._on_trip = on_trip
        self._breakers: dict[str, CircuitBreaker] = {}
        self._rates: dict[str, RateLimiter] = {}
        self._queues: dict[str, BoundedQueue[Any]] = {}
        self._budgets: dict[str, RetryBudget] = {}

    def breaker(self, name: str) -> CircuitBreaker:
        """The breaker *name*; with default thresholds where the configuration has none of that name."""
        found = self._breakers.get(name)
        if found is None:
            found = self._breakers[name] = CircuitBreaker(name, **_fields(self._breaker_config(name)))
            found.listen(self._changed)
        return found

    def rate(self, name: str) -> RateLimiter:
        """The rate limiter *name*.

        Raises:
            NotFoundError: the configuration has none of that name, and there is no default rate.
        """
        found = self._rates.get(name)
        if found is None:
            config = _configured("rate", name, self.config.rate)
            found = self._rates[name] = RateLimiter(config.rate, config.burst, name=name)
        return found

    def queue(self, name: str) -> BoundedQueue[Any]:
        """The queue *name*.

        Raises:
            NotFoundError: the configuration has none of that name, and there is no default limit.
        """
        found = self._queues.get(name)
        if found is None:
            config = _configured("queue", name, self.config.queue)
            found = self._queues[name] = BoundedQueue(config.limit, shed=Shed(config.shed), name=name)
        return found

    def retry(self, name: str, on: type[Exception] | tuple[type[Exception], ...] = Exception) -> Retry:
        """How to retry *name*, as it is configured now: ask at each use. All that asks for one name shares its budget."""
        config = self.config.retry.get(name, RetryConfig())
        budget = self._budgets.setdefault(name, RetryBudget())
        fields = _fields(config) | {"deadline": math.inf if config.deadline is None else config.deadline}
        return Retry(**fields, on=on, budget=budget)

    def apply(self, config: PolicyConfig) -> None:
        """Put *config*, which `policy_of` or the configuration's check has found good, in force at once, for what is in use too.

        Counts and states stay. A limiter or queue whose name is gone keeps its last figures for those who hold it.
        """
        self.config = config
        for name, breaker in self._breakers.items():
            breaker.configure(**_fields(self._breaker_config(name)))
        for name, limiter in self._rates.items():
            if name in config.rate:
                limiter.configure(rate=config.rate[name].rate, burst=config.rate[name].burst)
        for name, queue in self._queues.items():
            wanted: QueueConfig | None = config.queue.get(name)
            if wanted is not None:
                queue.configure(limit=wanted.limit, shed=Shed(wanted.shed))

    def state(self) -> dict[str, Any]:
        """Figures of what is in use, for people to look at."""
        return {
            "breaker": {
                name: {"state": each.state.value, "failures": each.failure_count, "trips": each.trips}
                for name, each in self._breakers.items()
            },
            "rate": {
                name: {"level": each.level, "admitted": each.admitted, "rejected": each.rejected}
                for name, each in self._rates.items()
            },
            "queue": {
                name: {"waiting": len(each), **each.counts._asdict()} for name, each in self._queues.items()
            },
            "retry": {
                name: {"budget": each.balance, "denied": each.denied} for name, each in self._budgets.items()
            },
        }

    def _breaker_config(self, name: str) -> BreakerConfig:
        return self.config.breaker.get(name, BreakerConfig())

    def _changed(self, _: CircuitState, state: CircuitState) -> None:
        if state is CircuitState.OPEN and self._on_trip is not None:
            self._on_trip()


def _fields(config: Any) -> dict[str, Any]:
    return {key: getattr(config, key) for key in config.__struct_fields__}


def _configured(kind: str, name: str, known: dict[str, C]) -> C:
    found = known.get(name)
    if found is None:
        raise NotFoundError(
            f"no {kind} {name!r} in [policy.{kind}]",
            remedy=f"add [policy.{kind}.{name}]; known: {', '.join(sorted(known)) or 'none'}",
        )
    return found
