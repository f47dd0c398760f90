"""Token bucket: `rate` tokens a second flow in, at most `burst` are kept, each admission takes one.

In any span of t seconds at most burst + rate x t are admitted (RFC 2697, 3, has the same law for its committed bucket).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from duende.clock import SYSTEM_CLOCK, Clock
from duende.errors import ConfigError, RateLimitedError

P = ParamSpec("P")
R = TypeVar("R")


class RateLimiter:
    """One bucket. Threads and event loops may share it.

    Who waits has reserved: the bucket's level goes below zero, newcomers wait behind, and nobody starves. Who gives up gives back.
    """

    __slots__ = (
        "_at",
        "_enter",
        "_leave",
        "_level",
        "_lock",
        "_now",
        "admitted",
        "burst",
        "name",
        "rate",
        "rejected",
    )

    def __init__(
        self, rate: float, burst: float | None = None, *, name: str = "rate", clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """A full bucket: *rate* tokens a second, *burst* at most (absent: as much as flows in in a second, at least 1).

        Raises:
            ConfigError: a number makes no sense.
        """
        self.name = name
        self._lock = threading.Lock()
        self._enter, self._leave = self._lock.acquire, self._lock.release
        self._now = clock.monotonic
        self.admitted = 0
        """How many admissions there were."""
        self.rejected = 0
        """How many were refused."""
        self.rate = self.burst = self._level = 0.0
        self._at = self._now()
        self.configure(rate=rate, burst=burst)
        self._level = self.burst

    def configure(self, *, rate: float, burst: float | None = None) -> None:
        """Change the figures of a bucket in use; what is in it stays, as far as it fits.

        Raises:
            ConfigError: a number makes no sense; nothing is changed then.
        """
        if not 0 < rate < math.inf:
            raise ConfigError(
                f"rate = {rate!r} of {self.name!r}", remedy="use more than 0 a second", key="rate"
            )
        size = max(1.0, rate) if burst is None else burst
        if not 1 <= size < math.inf:
            raise ConfigError(f"burst = {burst!r} of {self.name!r}", remedy="use 1 or more", key="burst")
        with self._lock:
            self._flow()
            self.rate, self.burst = float(rate), float(size)
            self._level = min(self._level, self.burst)

    @property
    def level(self) -> float:
        """Tokens in the bucket now; negative while some wait."""
        with self._lock:
            self._flow()
            return self._level

    def try_acquire(self, tokens: float = 1.0) -> bool:
        """Take *tokens* if they are there."""
        self._enter()  # half the time that `with` takes for a lock; and `_flow` is written out: half the cost is calls
        try:
            now = self._now()
            level = self._level + (now - self._at) * self.rate
            if level > self.burst:
                level = self.burst
            self._at = now
            if level < tokens:
                self._level = level
                self.rejected += 1
                return False
            self._level = level - tokens
            self.admitted += 1
            return True
        finally:
            self._leave()

    def retry_after(self, tokens: float = 1.0) -> float:
        """Seconds until *tokens* will be there, if nobody else takes them."""
        with self._lock:
            self._flow()
            return max(0.0, (tokens - self._level) / self.rate)

    async def acquire(self, tokens: float = 1.0, *, timeout: float | None = None) -> None:
        """Take *tokens*, waiting for them, first come first served.

        Raises:
            RateLimitedError: it would take longer than *timeout* seconds, or they never fit into the bucket; nothing was taken.
        """
        self._enter()
        try:
            now = self._now()  # `_flow` again; who finds enough need not know how long the rest would take
            level = self._level + (now - self._at) * self.rate
            if level > self.burst:
                level = self.burst
            self._at = now
            if level >= tokens:
                self._level = level - tokens
                self.admitted += 1
                return
            self._level = level
        finally:
            self._leave()
        wait = self._reserve(tokens, timeout)
        if wait <= 0:
            return
        try:
            await asyncio.sleep(wait)
        except BaseException:
            self._give_back(tokens)
            raise

    def acquire_blocking(self, tokens: float = 1.0, *, timeout: float | None = None) -> None:
        """The same in a thread.

        Raises:
            RateLimitedError: as for `acquire`.
        """
        wait = self._reserve(tokens, timeout)
        if wait <= 0:
            return
        try:
            time.sleep(wait)
        except BaseException:
            self._give_back(tokens)
            raise

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        return None

    def __enter__(self) -> None:
        """Take one token or refuse.

        Raises:
            RateLimitedError: there is none.
        """
        if not self.try_acquire():
            raise RateLimitedError(self.name, self.rate, self.retry_after())

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Let every call of *function* take a token: a coroutine function waits for it, any other is refused with RateLimitedError."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                await self.acquire()
                return await function(*args, **kwargs)

            return cast(Callable[P, R], later)

        @functools.wraps(function)
        def now(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return now

    def _flow(self) -> None:
        now = self._now()
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now

    def _reserve(self, tokens: float, timeout: float | None) -> float:
        """Take *tokens* out, also of what is still to come; how long that will take."""
        with self._lock:
            self._flow()
            wait = max(0.0, (tokens - self._level) / self.rate)
            if tokens > self.burst or (timeout is not None and wait > timeout):
                self.rejected += 1
                raise RateLimitedError(self.name, self.rate, math.inf if tokens > self.burst else wait)
            self._level -= tokens
            self.admitted += 1
            return wait

    def _give_back(self, tokens: float) -> None:
        with self._lock:
            self._flow()
            self._level = min(self.burst, self._level + tokens)
            self.admitted -= 1
