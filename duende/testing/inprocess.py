"""Runs a daemon inside a test: its whole life cycle, without a process, a signal or a socket of its own."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from duende.config.model import DaemonConfig
from duende.daemon import Daemon, DaemonContext
from duende.errors import HealthCheckError, StateError
from duende.host.endpoint import Endpoint
from duende.host.lifecycle import Host, Outcome
from duende.host.notify import Notifier
from duende.signals import Signal
from duende.states import HealthStatus

START_TIMEOUT = 10.0
"""Seconds within which a daemon under test must be ready or have ended."""
STOP_MARGIN = 5.0
"""Seconds beyond its own shutdown_timeout in which a daemon must have ended; longer is a bug of the host."""


class RecordingNotifier(Notifier):
    """Keeps what a daemon announces instead of sending it."""

    def __init__(self) -> None:
        super().__init__(None)
        self.said: list[str] = []
        """Every assignment, oldest first: "READY=1", "STATUS=...", "STOPPING=1"."""
        self.ready = asyncio.Event()
        """Set by the first READY=1."""

    def send(self, assignment: str) -> None:
        """Keep the *assignment*."""
        self.said.append(assignment)
        if assignment == "READY=1":
            self.ready.set()


class InProcessHarness:
    """A daemon under test.

    ```python
    async with InProcessHarness(Counter()) as harness:
        harness.send(Signal.USR1)
        assert (await harness.health()).is_healthy
        outcome = await harness.stop()
    assert outcome.code == 0
    ```

    Leaving the block stops a daemon that still runs.
    """

    def __init__(
        self,
        daemon: Daemon | type[Daemon],
        config: DaemonConfig | None = None,
        *,
        config_source: str | None = None,
        pid_file: str | None = None,
        socket: str | None = None,
    ) -> None:
        self._given = daemon, config
        self._options = {"config_source": config_source, "pid_file": pid_file, "socket": socket}
        self._host: Host | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self.announced: list[str] = []
        """What the daemon and its host announced, oldest first."""

    async def start(self) -> None:
        """Start the daemon and wait until it is ready or has ended; `wait` tells which.

        Raises:
            ConfigError: its class cannot be made.
            StateError: it was started before.
            HealthCheckError: it is neither ready nor ended within `START_TIMEOUT`.
        """
        if self._task is not None:
            raise StateError("cannot start this harness twice", remedy="make another one")
        notifier = RecordingNotifier()
        self.announced = notifier.said
        daemon, config = self._given
        self._host = Host.of(daemon, config, notifier=notifier, handle_signals=False, **self._options)
        self._task = asyncio.ensure_future(self._host.run())
        ready = asyncio.ensure_future(notifier.ready.wait())
        try:
            await asyncio.wait(
                (self._task, ready), timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not (self._task.done() or notifier.ready.is_set()):
            await self._abandon()
            raise HealthCheckError(
                f"{self.daemon.name!r} is neither ready nor ended after {START_TIMEOUT:g} s"
            )

    @property
    def daemon(self) -> Daemon:
        """The daemon under test; raises `StateError` before `start`."""
        return self._running().daemon

    @property
    def context(self) -> DaemonContext:
        """What the daemon sees; raises `StateError` before `start`."""
        return self._running().context

    @property
    def ended(self) -> bool:
        """Whether the daemon has ended."""
        return self._task is not None and self._task.done()

    def send(self, *signals: Signal) -> None:
        """Deliver *signals* in order, like the kernel; HUP reloads. Raises `StateError` before `start`."""
        host = self._running()
        for signal in signals:
            host.receive(signal)

    async def health(self) -> HealthStatus:
        """Ask the daemon how it is, as the health socket does. Raises `StateError` before `start`."""
        host = self._running()
        return await Endpoint("", host.daemon, host.context, lambda: host.config).health()

    async def wait(self, within: float | None = None) -> Outcome:
        """How the daemon ended.

        Raises:
            StateError: it was not started.
            TimeoutError: it did not end within that many seconds.
        """
        self._running()
        if self._task is None:
            raise StateError("cannot wait: the daemon was not started")
        async with asyncio.timeout(within):
            return await asyncio.shield(self._task)

    async def stop(self) -> Outcome:
        """Send TERM and wait; stopping one that has ended tells how it did.

        Raises:
            StateError: it was not started.
            TimeoutError: it outlived its shutdown_timeout by `STOP_MARGIN`.
        """
        host = self._running()
        if not self.ended:
            self.send(Signal.TERM)
        return await self.wait(2 * host.config.shutdown_timeout + STOP_MARGIN)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.stop()
        else:
            await self._abandon()

    async def _abandon(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _running(self) -> Host:
        if self._host is None:
            raise StateError("the daemon was not started", remedy="use `async with` or call start()")
        return self._host
