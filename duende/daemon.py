"""What a daemon author writes, and what the daemon sees of the world while it runs."""

from __future__ import annotations

import asyncio
import collections
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

from duende.config.model import DaemonConfig
from duende.errors import StateError
from duende.ids import DaemonId
from duende.metrics import DaemonMetrics
from duende.signals import Signal
from duende.states import ExitReason, HealthStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.observe.spans import Spans
    from duende.policy.live import LivePolicy

Announce = Callable[[str], None]
"""Sends one sd_notify(3) assignment, like "READY=1"."""


class Daemon(ABC):
    """A daemon: subclass it, give it a `name`, write `run`.

    The host calls `init` once, then `run`, and `shutdown` after `run` has returned or raised. Everything else
    has a sensible default.
    """

    name: str = ""
    """Its name; the class name in lower case unless set."""
    announces_ready: ClassVar[bool] = False
    """Set it when `run` itself calls `ctx.ready()`; otherwise the daemon is ready when `init` has returned.
    """
    _id: DaemonId | None = None
    _metrics: DaemonMetrics | None = None

    @property
    def id(self) -> DaemonId:
        """The daemon's id: that of the manager that started it, or a fresh one."""
        if self._id is None:
            self._id = DaemonId.new()
        return self._id

    @property
    def metrics(self) -> DaemonMetrics:
        """RED metrics, made on first use."""
        if self._metrics is None:
            self._metrics = DaemonMetrics()
        return self._metrics

    async def init(self, config: DaemonConfig) -> None:
        """Get ready: check the configuration, take resources, open connections. Raise to refuse to start."""

    @abstractmethod
    async def run(self, ctx: DaemonContext) -> ExitReason | None:
        """Do the work until `ctx.should_shutdown()`; None counts as graceful."""

    async def shutdown(self, timeout: float) -> None:
        """Finish what is in flight and release everything, within *timeout* seconds."""

    async def health_check(self) -> HealthStatus:
        """How well the daemon is; healthy unless the subclass knows better."""
        return HealthStatus.healthy()

    async def reload(self, config: DaemonConfig) -> None:
        """Take over a new configuration (HUP); `ctx.config` has it already."""


class DaemonContext:
    """Signals, configuration and time, as the daemon sees them.

    No signal is ever lost, however many arrive and however rarely the daemon looks: the queue has no bound,
    and a signal is a few bytes.
    """

    def __init__(self, config: DaemonConfig, announce: Announce | None = None) -> None:
        self.config = config
        """The configuration in force; a new value after a reload."""
        self.make_policy: Callable[[], LivePolicy] | None = None
        """How the host makes `policy`, when somebody asks for it."""
        self._policy: LivePolicy | None = None
        self.make_spans: Callable[[], Spans] | None = None
        """How the host makes `spans`, when somebody asks for it."""
        self._spans: Spans | None = None
        self.paused = False
        """Whether an operator has paused the daemon through the manager."""
        self._announce = announce
        self._shutdown = False
        self._signals: collections.deque[Signal] = collections.deque()
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def policy(self) -> LivePolicy:
        """Circuit breakers, rate limiters, queues and retries by the names of `[policy]`; made on first use, changed by reloads.

        Raises:
            StateError: the context was made without a host.
        """
        if self._policy is None:
            if self.make_policy is None:
                raise StateError("this context has no policy: no host made it")
            self._policy = self.make_policy()
        return self._policy

    @property
    def has_policy(self) -> bool:
        """Whether anybody has asked for `policy` yet."""
        return self._policy is not None

    @property
    def spans(self) -> Spans:
        """What the daemon does, as spans of traces that go through it; made on first use. `duende trace` and GET /spans show them.

        Raises:
            StateError: the context was made without a host.
        """
        if self._spans is None:
            if self.make_spans is None:
                raise StateError("this context has no spans: no host made it")
            self._spans = self.make_spans()
        return self._spans

    # -- shutdown --------------------------------------------------------------------------------------------

    def should_shutdown(self) -> bool:
        """Whether to end: true at once on TERM, INT or QUIT, even if no signal is ever read."""
        return self._shutdown

    def request_shutdown(self) -> None:
        """Ask the daemon to end, as TERM would."""
        self._shutdown = True
        self._wake()

    async def wait_shutdown(self) -> None:
        """Wait until the daemon is asked to end."""
        while not self._shutdown:
            await self._change()

    async def sleep(self, seconds: float) -> bool:
        """Sleep *seconds*, waking at once on shutdown; whether to shut down now."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not self._shutdown:
            left = deadline - loop.time()
            if left <= 0:
                # Even sleep(0) lets others run, so a loop around it can be interrupted.
                await asyncio.sleep(0)
                break
            await self._change(left)
        return self._shutdown

    async def until_shutdown(self, work: Awaitable[Any]) -> Any:
        """The result of *work*, or None when shutdown came first (then *work* is cancelled)."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.wait_shutdown())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for pending in (task, stop):
                pending.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    # -- signals ---------------------------------------------------------------------------------------------

    def deliver(self, signal: Signal) -> None:
        """Put *signal* into the queue; the host calls this, tests may."""
        self._signals.append(signal)
        if signal.is_shutdown:
            self._shutdown = True
        self._wake()

    def try_recv_signal(self) -> Signal | None:
        """The oldest signal that was not read yet, or None."""
        return self._signals.popleft() if self._signals else None

    async def recv_signal(self) -> Signal:
        """Wait for the next signal."""
        while not self._signals:
            await self._change()
        return self._signals.popleft()

    async def signals(self) -> AsyncIterator[Signal]:
        """Every signal, until shutdown has been asked for and the queue is empty."""
        while True:
            while self._signals:
                yield self._signals.popleft()
            if self._shutdown:
                return
            await self._change()

    @property
    def pending_signals(self) -> int:
        """How many signals wait to be read."""
        return len(self._signals)

    # -- telling ---------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Report readiness; only for classes with `announces_ready`."""
        self._say("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what the daemon does; `duende status` shows it."""
        self._say("STATUS=" + text.replace("\n", " "))

    def _say(self, assignment: str) -> None:
        if self._announce is not None:
            self._announce(assignment)

    # -- waiting ---------------------------------------------------------------------------------------------

    async def _change(self, seconds: float | None = None) -> None:
        """Wait until something happens, or *seconds* have passed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        try:
            if seconds is None:
                await future
            else:
                await asyncio.wait((future,), timeout=seconds)
        finally:
            if future in self._waiters:
                self._waiters.remove(future)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for future in waiters:
            if not future.done():
                future.get_loop().call_soon_threadsafe(_finish, future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
