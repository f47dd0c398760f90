"""Retry with a budget: delays grow and are spread over their whole length, and retries are never more than a share of the calls.

delay(n) is random in [0, min(initial x multiplier^n, longest)] ("full jitter", M. Brooker, AWS Architecture Blog, 2015). The budget is that of
Finagle and of the SRE book (ch. 21, "Handling overload"): where everything fails, a retry for every call would double the load that makes it fail.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

from duende.clock import SYSTEM_CLOCK, Clock
from duende.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


class RetryBudget:
    """Each call pays in `ratio` of a retry; each retry takes one out. At most `reserve` are saved up, and so many are there at first."""

    __slots__ = ("_balance", "_lock", "denied", "ratio", "reserve")

    def __init__(self, ratio: float = 0.1, reserve: float = 10.0) -> None:
        """A budget with its reserve full.

        Raises:
            ConfigError: a number makes no sense.
        """
        for key, value in (("ratio", ratio), ("reserve", reserve)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"{key} = {value!r} of a retry budget", remedy="use 0 or more", key=key)
        self.ratio = ratio
        self.reserve = reserve
        self._balance = reserve
        self._lock = threading.Lock()
        self.denied = 0
        """Retries that were not made for lack of budget."""

    @property
    def balance(self) -> float:
        """Retries that could be made now."""
        return self._balance

    def pay_in(self) -> None:
        """A call is made."""
        with self._lock:
            self._balance = min(self.reserve, self._balance + self.ratio)

    def take(self) -> bool:
        """Whether a retry may be made; it is taken then."""
        with self._lock:
            if self._balance < 1.0 - 1e-9:  # tenths do not add up to one in binary
                self.denied += 1
                return False
            self._balance -= 1.0
            return True


class Retry:
    """How a call is repeated. One value may serve many functions, threads and loops, which then share its budget."""

    __slots__ = (
        "_now", "_random", "attempts", "budget", "deadline", "initial_delay", "max_delay", "multiplier", "on",
    )  # fmt: skip

    def __init__(
        self,
        *,
        attempts: int = 3,
        initial_delay: float = 0.1,
        multiplier: float = 2.0,
        max_delay: float = 10.0,
        deadline: float = math.inf,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        budget: RetryBudget | None = None,
        clock: Clock = SYSTEM_CLOCK,
        seed: int | None = None,
    ) -> None:
        """At most *attempts* calls in all, the last of them begun within *deadline* seconds; only exceptions *on* are worth another.

        Raises:
            ConfigError: a number makes no sense.
        """
        if attempts < 1:
            raise ConfigError(f"attempts = {attempts!r}", remedy="use 1 or more", key="attempts")
        for key, value, least in (
            ("initial_delay", initial_delay, 0.0),
            ("multiplier", multiplier, 1.0),
            ("max_delay", max_delay, 0.0),
            ("deadline", deadline, 0.0),
        ):
            if not value >= least or (key != "deadline" and math.isinf(value)):
                raise ConfigError(f"{key} = {value!r}", remedy=f"use {least:g} or more", key=key)
        self.attempts = attempts
        self.initial_delay = initial_delay
        self.multiplier = multiplier
        self.max_delay = max_delay
        self.deadline = deadline
        self.on = on
        self.budget = RetryBudget() if budget is None else budget
        self._now = clock.monotonic
        self._random = random.Random(seed)  # noqa: S311 - it spreads load, and keeps no secret

    def longest_delay(self, number: int) -> float:
        """The upper bound, in seconds, of the delay before retry *number*, which counts from 0."""
        try:
            return min(self.initial_delay * self.multiplier**number, self.max_delay)
        except OverflowError:
            return self.max_delay

    async def call(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Await *function* until it succeeds. The last exception is the caller's, with a note of what was tried."""
        began, number = self._now(), 0
        self.budget.pay_in()
        while True:
            try:
                return await function(*args, **kwargs)
            except self.on as error:
                delay = self._next(error, number, began)
            await asyncio.sleep(delay)
            number += 1

    def call_blocking(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *function* in this thread until it succeeds; as `call`."""
        began, number = self._now(), 0
        self.budget.pay_in()
        while True:
            try:
                return function(*args, **kwargs)
            except self.on as error:
                delay = self._next(error, number, began)
            time.sleep(delay)
            number += 1

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Repeat every call of *function*, which may be a coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await self.call(function, *args, **kwargs)

            return cast(Callable[P, R], later)

        @functools.wraps(function)
        def now(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call_blocking(function, *args, **kwargs)

        return now

    def _next(self, error: Exception, number: int, began: float) -> float:
        """The delay before the next try; raises *error* where there is to be none."""
        delay = self._random.uniform(0.0, self.longest_delay(number))
        if number + 1 >= self.attempts:
            why = "no attempt is left"
        elif self._now() - began + delay > self.deadline:
            why = f"the deadline of {self.deadline:g} s would be over"
        elif not self.budget.take():
            why = "the retry budget is spent: too much fails to be worth repeating"
        else:
            return delay
        error.add_note(f"tried {number + 1} times: {why}")
        raise error
