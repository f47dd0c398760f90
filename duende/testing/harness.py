"""Runs a daemon on any adapter for the length of a test, and gives back what a test wants to know of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    Ownership,
    Platform,
    PlatformAdapter,
    StopCertificate,
    SupportsLogs,
)
from duende.config.model import DaemonConfig
from duende.daemon import Daemon
from duende.errors import DuendeError, HealthCheckError, NotSupportedError, StateError
from duende.metrics import MetricsSnapshot
from duende.signals import Signal
from duende.states import DaemonStatus, HealthCheck, HealthStatus, Phase, ProcessExit
from duende.supervision import SupervisorEvent
from duende.supervisor import Supervisor
from duende.testing import endpoint
from duende.testing.adapters import adapter_of, configuration

START_MARGIN = 15.0
"""Seconds beyond `readiness.timeout` that a start may take: the platform's own work, on a loaded machine."""
STOP_MARGIN = 15.0
"""Seconds beyond `shutdown_timeout` within which a stop must be answered."""
CALL_TIMEOUT = 10.0
"""Seconds for one question to the adapter or to the daemon's socket."""
CLOSE_TIMEOUT = 30.0
"""Seconds for an adapter the harness made itself to be closed."""
POLL = 0.02
"""Seconds between looks while waiting for what nobody reports: a status, a line of output."""
LAST_LINES = 15
"""Lines of the daemon's output shown with a failure."""
T = TypeVar("T")


class DaemonTestHarness:
    r"""A daemon under test, on a platform.

    ```python
    async with DaemonTestHarness(Counter) as harness:              # natively
        await harness.signal(Signal.USR1)
        await harness.wait_for_log(r"count \\d+")
        assert (await harness.health()).is_healthy
        certificate = await harness.shutdown()
    assert certificate.proven
    ```

    *daemon* is a `Daemon` class, an instance (its class is started: an object does not cross a process), or a `DaemonConfig`; *config*
    goes with a class. *adapter* is an adapter, a `Platform`, or a name like "systemd" or "docker"; an adapter made here is closed here.
    The daemon is restarted as its policy says, as under a manager. Leaving the block stops it; what the block raised, and every failure of
    the harness itself, gets the daemon's last lines of output as a note.
    """

    def __init__(
        self,
        daemon: Daemon | type[Daemon] | DaemonConfig,
        config: DaemonConfig | None = None,
        *,
        adapter: PlatformAdapter | Platform | str = "native",
    ) -> None:
        self.config, import_path = configuration(daemon, config)
        """What the daemon is started with."""
        self.events: list[SupervisorEvent] = []
        """What happened to the daemon, oldest first."""
        self.certificate: StopCertificate | None = None
        """Of the last stop."""
        self._owned = not isinstance(adapter, PlatformAdapter)
        self.adapter = adapter_of(adapter)
        """The platform it runs on."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._supervisor = Supervisor(
            self.config,
            self.adapter,
            _Launcher(self.adapter, self._keep),
            self.events.append,
            import_path=import_path,
        )
        self._subscribed = False

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Start the daemon and wait until it is ready.

        Raises:
            DuendeError: it did not become ready; the error of the start, with its last lines as a note.
            HealthCheckError: nothing was heard of it within `readiness.timeout` and `START_MARGIN`.
            NotSupportedError: the platform cannot be used here.
        """
        if not self._subscribed:
            self._subscribed = True
            self.adapter.subscribe(self._on_event)
        limit = self.config.readiness.timeout + START_MARGIN
        try:
            async with asyncio.timeout(limit):
                await self._supervisor.start()
        except TimeoutError as error:
            late = HealthCheckError(f"{self.name!r} is neither ready nor ended after {limit:g} s")
            await self.explain_failure(late)
            raise late from error
        except DuendeError as error:
            await self.explain_failure(error)
            raise
        return self

    async def shutdown(self) -> StopCertificate:
        """Stop the daemon (TERM, then KILL after its `shutdown_timeout`) and give the certificate; harmless when it is stopped.

        Raises:
            StateError: the platform did not answer within `shutdown_timeout` and `STOP_MARGIN`.
        """
        limit = self.config.shutdown_timeout + STOP_MARGIN
        try:
            async with asyncio.timeout(limit):
                self.certificate = await self._supervisor.stop()
        except TimeoutError as error:
            late = StateError(
                f"cannot stop {self.name!r}: no certificate after {limit:g} s",
                remedy="look at the platform's own log",
            )
            await self.explain_failure(late)
            raise late from error
        return self.certificate

    async def restart(self) -> None:
        """Stop the daemon and start it again; raises as `start` does."""
        await self.shutdown()
        await self.start()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            try:
                if self._supervisor.handle is not None and not self._supervisor.status.is_terminal:
                    await self.shutdown()
            finally:
                await self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                await self.explain_failure(error)
            certificate = await self.shutdown()
        finally:
            await self._close()
        if error is None and self.adapter.capabilities.proof_of_stop and not certificate.proven:
            raise StateError(
                f"the stop of {self.name!r} is not proven: {certificate.proof}",
                remedy=f"blocked by {', '.join(certificate.blocked_by) or 'nothing known'}",
            )

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._owned:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.adapter.close()

    # -- questions -------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The daemon's name."""
        return self.config.name

    @property
    def handle(self) -> DaemonHandle:
        """What finds the daemon on its platform; a new one after each restart.

        Raises:
            StateError: it was not started.
        """
        if self._supervisor.handle is None:
            raise StateError(f"{self.name!r} was not started", remedy="use `async with` or call start()")
        return self._supervisor.handle

    @property
    def pid(self) -> int:
        """Main process while one is alive, else 0."""
        return self._supervisor.pid

    @property
    def restarts(self) -> int:
        """How often it was restarted by its policy."""
        return self._supervisor.restart_state.total

    async def status(self) -> DaemonStatus:
        """How the daemon is: the supervisor's state while it starts, stops or has ended, else the platform's answer.

        Raises:
            PlatformError: the platform did not say.
        """
        known = self._supervisor.status
        if not known.is_active or self._supervisor.handle is None:
            return known
        return await self._bounded(self.adapter.status(self._supervisor.handle), "say how it is")

    async def health(self) -> HealthStatus:
        """How well the daemon is, by what its configuration says: `health_check.exec`, its port, a `Daemon`'s own word over its socket, or
        else its process. The named checks say which was asked.
        """
        found = await self._bounded(
            endpoint.health(self.config, self._socket, await self.status()), "check its health"
        )
        owner = await self._bounded(self.adapter.verify(self.handle), "verify it")
        mine = HealthCheck("identity", owner is Ownership.OURS, owner.value)
        if not mine.passed and found.is_healthy:
            found = HealthStatus.unhealthy(f"its process is {owner.value}", found.checks)
        return msgspec.structs.replace(found, checks=(*found.checks, mine))

    async def metrics(self) -> MetricsSnapshot:
        """The metrics a `Daemon` keeps of itself, from its socket.

        Raises:
            NotSupportedError: it is no `Daemon`, or its platform carries no socket here.
        """
        if self._socket is None or self.config.daemon is None:
            raise NotSupportedError(
                self.adapter.platform.value,
                f"tell the metrics of {self.name!r}",
                remedy="only Daemon classes on a real platform keep some",
            )
        return await self._bounded(endpoint.metrics(self._socket), "tell its metrics")

    async def logs(self, lines: int = 100) -> list[str]:
        """The last *lines* lines of output, oldest first; empty where the adapter keeps none or nothing was started."""
        if self._supervisor.handle is None or not isinstance(self.adapter, SupportsLogs):
            return []
        return await self._bounded(self.adapter.logs(self._supervisor.handle, lines), "read its output")

    async def signal(self, *signals: Signal) -> None:
        """Send *signals* in order.

        Raises:
            SignalError: nothing runs that could get it.
            PlatformError: the platform did not deliver it.
        """
        for each in signals:
            await self._bounded(self._supervisor.signal(each), f"take {each.value}")

    async def kill_from_outside(self) -> int:
        """KILL the main process behind the supervisor's back, as a crash would; gives its pid. The policy decides what follows.

        Raises:
            PlatformError: the platform did not deliver it.
        """
        handle = self.handle
        await self._bounded(self.adapter.kill(handle), "take KILL")
        return handle.pid

    # -- waiting ---------------------------------------------------------------------------------------------

    async def wait_for_status(self, *phases: Phase, within: float = CALL_TIMEOUT) -> DaemonStatus:
        """Wait until the daemon is in one of *phases*.

        Raises:
            HealthCheckError: it is not within that many seconds.
        """

        async def look() -> DaemonStatus | None:
            found = await self.status()
            return found if found.phase in phases else None

        return await self._poll(look, within, f"become {' or '.join(each.value for each in phases)}")

    async def wait_for_log(self, pattern: str, *, within: float = CALL_TIMEOUT, lines: int = 1000) -> str:
        """Wait for a line of output in which the regular expression *pattern* is found, among the last *lines*; gives the line.

        Raises:
            HealthCheckError: there is none within that many seconds.
        """
        wanted = re.compile(pattern)

        async def look() -> str | None:
            return next((line for line in await self.logs(lines) if wanted.search(line)), None)

        return await self._poll(look, within, f"say {pattern!r}")

    async def wait_for_restart(self, after: int, *, within: float = 30.0) -> None:
        """Wait until the daemon runs again in another process than *after*.

        Raises:
            HealthCheckError: it does not within that many seconds.
        """

        async def look() -> bool | None:
            running = self._supervisor.status.phase is Phase.RUNNING
            return True if running and self.pid not in (0, after) else None

        await self._poll(look, within, f"run again after process {after}")

    async def wait_ended(self, *, within: float = CALL_TIMEOUT) -> ProcessExit:
        """Wait until the main process has ended and say how.

        Raises:
            HealthCheckError: it has not within that many seconds.
        """
        try:
            async with asyncio.timeout(within):
                return await self.adapter.wait(self.handle)
        except TimeoutError as error:
            late = HealthCheckError(f"{self.name!r} did not end within {within:g} s")
            await self.explain_failure(late)
            raise late from error

    async def explain_failure(self, error: BaseException) -> None:
        """Add to *error*, as a note, the state of the daemon and its last lines of output."""
        try:
            lines = await self.logs(LAST_LINES)
        except DuendeError as second:
            lines = [f"(its output cannot be read: {second})"]
        said = [f"  | {line}" for line in lines] or ["  (it wrote nothing, or this platform keeps no output)"]
        error.add_note(
            "\n".join(
                [
                    f"{self.name!r} on {self.adapter.platform.value} is {self._supervisor.status}; its last lines:",
                    *said,
                ]
            )
        )

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> str | None:
        folder = getattr(self.adapter, "runtime_dir", None)
        return f"{folder}/{self._supervisor.daemon_id[:13]}.sock" if folder else None

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_event(self, event: AdapterEvent) -> None:
        if event.daemon_id == self._supervisor.daemon_id:
            self._supervisor.on_event(event)

    async def _bounded(self, work: Awaitable[T], what: str) -> T:
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await work
        except TimeoutError as error:
            late = HealthCheckError(f"{self.name!r} did not {what} within {CALL_TIMEOUT:g} s")
            raise late from error

    async def _poll(self, look: Callable[[], Awaitable[T | None]], within: float, what: str) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            found = await look()
            if found is not None:
                return found
            if loop.time() >= deadline:
                late = HealthCheckError(f"{self.name!r} did not {what} within {within:g} s")
                await self.explain_failure(late)
                raise late
            await asyncio.sleep(POLL)


class _Launcher:
    """Starts one daemon at a time, and answers its supervisor whatever happens: it waits for the answer."""

    def __init__(
        self, adapter: PlatformAdapter, keep: Callable[[Coroutine[object, object, None]], None]
    ) -> None:
        self._adapter = adapter
        self._keep = keep

    def request_launch(self, supervisor: Supervisor) -> None:
        """Start it in a task of its own."""
        self._keep(self._launch(supervisor))

    async def _launch(self, supervisor: Supervisor) -> None:
        try:
            handle = await self._adapter.launch(supervisor.request())
        except Exception as error:  # noqa: BLE001  (of an adapter that may be a stranger's: it is the answer)
            supervisor.launched(error)
        else:
            supervisor.launched(handle)
