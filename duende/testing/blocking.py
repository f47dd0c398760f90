"""The test kit without async: the same things with calls that wait, on an event loop in a thread of its own.

The loop goes on while the test does something else, so that restarts happen, proxies forward and schedules keep their time.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Self, TypeVar

from duende.adapters.contract import DaemonHandle, StopCertificate
from duende.config.model import DaemonConfig
from duende.errors import StateError
from duende.metrics import MetricsSnapshot
from duende.signals import Signal
from duende.states import DaemonStatus, HealthStatus, Phase, ProcessExit
from duende.testing.chaos import ChaosInjector
from duende.testing.chaos_report import ChaosReport
from duende.testing.harness import CALL_TIMEOUT, CLOSE_TIMEOUT, START_MARGIN, STOP_MARGIN, DaemonTestHarness
from duende.testing.load import LoadReport, LoadTestConfig, LoadTester

T = TypeVar("T")
MARGIN = 5.0
"""Seconds beyond the deadline of the asynchronous call, which is the one that should pass first: its error says more."""
PLAIN_THREADS = 64
"""Operations of a load test that are plain functions and run side by side at most; more wait, and the wait counts."""


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="duende-testing", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], within: float) -> T:
        """Run *work* in the loop and wait for its result.

        Raises:
            StateError: there was none within that many seconds.
        """
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(within)
        except FutureTimeoutError:
            if future.done():
                raise  # of the work itself
            future.cancel()
            raise StateError(
                f"no result within {within:g} s", remedy="raise the deadline, or look for a hang"
            ) from None

    def close(self) -> None:
        """End the loop, cancelling what still runs in it."""

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_asyncgens()

        self.call(end(), MARGIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(MARGIN)
        self._loop.close()


class BlockingHarness:
    """`DaemonTestHarness` for tests that are plain functions; the same calls, and the same errors."""

    def __init__(self, loop: LoopThread, harness: DaemonTestHarness) -> None:
        self._loop = loop
        self.harness = harness
        """The asynchronous one behind it."""

    @property
    def config(self) -> DaemonConfig:
        """What the daemon was started with."""
        return self.harness.config

    @property
    def pid(self) -> int:
        """Main process while one is alive, else 0."""
        return self.harness.pid

    @property
    def handle(self) -> DaemonHandle:
        """What finds the daemon on its platform."""
        return self.harness.handle

    @property
    def restarts(self) -> int:
        """How often it was restarted by its policy."""
        return self.harness.restarts

    def start(self) -> Self:
        """See `DaemonTestHarness.start`."""
        limit = self.config.readiness.timeout + START_MARGIN + self.config.shutdown_timeout + STOP_MARGIN
        self._loop.call(self.harness.__aenter__(), limit + CLOSE_TIMEOUT)
        return self

    def finish(self) -> None:
        """Stop the daemon and give everything back; what leaving `async with` does."""
        limit = self.config.shutdown_timeout + STOP_MARGIN + CLOSE_TIMEOUT
        self._loop.call(self.harness.__aexit__(None, None, None), limit + MARGIN)

    def status(self) -> DaemonStatus:
        """See `DaemonTestHarness.status`."""
        return self._ask(self.harness.status())

    def health(self) -> HealthStatus:
        """See `DaemonTestHarness.health`."""
        return self._loop.call(self.harness.health(), 3 * CALL_TIMEOUT + MARGIN)

    def metrics(self) -> MetricsSnapshot:
        """See `DaemonTestHarness.metrics`."""
        return self._ask(self.harness.metrics())

    def logs(self, lines: int = 100) -> list[str]:
        """See `DaemonTestHarness.logs`."""
        return self._ask(self.harness.logs(lines))

    def signal(self, *signals: Signal) -> None:
        """See `DaemonTestHarness.signal`."""
        self._loop.call(self.harness.signal(*signals), len(signals) * CALL_TIMEOUT + MARGIN)

    def kill_from_outside(self) -> int:
        """See `DaemonTestHarness.kill_from_outside`."""
        return self._ask(self.harness.kill_from_outside())

    def shutdown(self) -> StopCertificate:
        """See `DaemonTestHarness.shutdown`."""
        return self._loop.call(self.harness.shutdown(), self.config.shutdown_timeout + STOP_MARGIN + MARGIN)

    def wait_for_status(self, *phases: Phase, within: float = CALL_TIMEOUT) -> DaemonStatus:
        """See `DaemonTestHarness.wait_for_status`."""
        return self._ask(self.harness.wait_for_status(*phases, within=within), within)

    def wait_for_log(self, pattern: str, *, within: float = CALL_TIMEOUT) -> str:
        """See `DaemonTestHarness.wait_for_log`."""
        return self._ask(self.harness.wait_for_log(pattern, within=within), within)

    def wait_for_restart(self, after: int, *, within: float = 30.0) -> None:
        """See `DaemonTestHarness.wait_for_restart`."""
        self._ask(self.harness.wait_for_restart(after, within=within), within)

    def wait_ended(self, *, within: float = CALL_TIMEOUT) -> ProcessExit:
        """See `DaemonTestHarness.wait_ended`."""
        return self._ask(self.harness.wait_ended(within=within), within)

    def _ask(self, work: Coroutine[Any, Any, T], within: float = 0.0) -> T:
        # A wait may ask the platform once more when its time is up, and then for the last lines of output.
        return self._loop.call(work, within + 2 * CALL_TIMEOUT + MARGIN)


class BlockingChaos:
    """`ChaosInjector` for tests that are plain functions; also a context manager."""

    def __init__(self, loop: LoopThread, injector: ChaosInjector) -> None:
        self._loop = loop
        self.injector = injector
        """The asynchronous one behind it."""
        loop.call(injector.prepare(), CALL_TIMEOUT)

    @property
    def port(self) -> int:
        """Where clients connect; the daemon's own port is not affected."""
        return self.injector.port

    @property
    def is_active(self) -> bool:
        """Whether faults are being injected."""
        return self.injector.is_active

    def start(self) -> None:
        """See `ChaosInjector.start`."""
        self._loop.call(self.injector.start(), CALL_TIMEOUT)

    def wait(self) -> None:
        """See `ChaosInjector.wait`."""
        self._loop.call(self.injector.wait(), self.injector.config.duration + CLOSE_TIMEOUT)

    def stop(self) -> ChaosReport:
        """See `ChaosInjector.stop`."""
        return self._loop.call(self.injector.stop(), CLOSE_TIMEOUT)

    def close(self) -> None:
        """See `ChaosInjector.close`."""
        self._loop.call(self.injector.close(), CLOSE_TIMEOUT)

    def run(self, operation: Callable[..., object], **options: Any) -> ChaosReport:
        """See `ChaosInjector.run`; *operation* may be a plain function."""
        with ThreadPoolExecutor(PLAIN_THREADS, "duende-operation") as threads:
            spare = sum(options.get(key, 1.0) for key in ("before", "after")) + options.get(
                "recover_within", 30.0
            )
            limit = self.injector.config.duration + spare + 4 * options.get("timeout", 5.0) + CLOSE_TIMEOUT
            return self._loop.call(self.injector.run(as_async(operation, threads), **options), limit)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run_load(loop: LoopThread, config: LoadTestConfig | str, operation: Callable[..., object]) -> LoadReport:
    """Run a load test from a plain test; *config* may be the name of a profile, *operation* a plain function."""
    made = LoadTestConfig.profile(config) if isinstance(config, str) else config
    with ThreadPoolExecutor(min(PLAIN_THREADS, made.users), "duende-operation") as threads:
        limit = made.ramp + made.duration + 2 * made.timeout + CLOSE_TIMEOUT
        return loop.call(LoadTester(made, as_async(operation, threads)).run(), limit)


def as_async(
    operation: Callable[..., object], threads: ThreadPoolExecutor
) -> Callable[..., Awaitable[object]]:
    """*operation* as something to be awaited: itself where it is asynchronous, else run in one of the *threads*."""
    signature = inspect.signature(operation)
    wants = sum(
        each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        for each in signature.parameters.values()
    )

    async def plain(*numbers: int) -> object:
        given = numbers if wants else ()
        if inspect.iscoroutinefunction(operation):
            return await operation(*given)
        found = await asyncio.get_running_loop().run_in_executor(threads, operation, *given)
        # A plain function that gives something to be awaited: lambda: fetch(port)
        return await found if inspect.isawaitable(found) else found

    async def numbered(user: int, number: int) -> object:
        return await plain(user, number)

    async def bare() -> object:
        return await plain()

    return numbered if wants else bare
