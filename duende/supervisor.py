"""Keeps ONE daemon alive: its state, its restarts, its readiness, on any adapter.

Driven by calls and by the adapter's events, all in one event loop; holds no task while nothing happens. Starting goes through a `Launcher`,
which gathers what is to start in one turn of the loop into one batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from duende import restart
from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    PlatformAdapter,
    SpawnRequest,
    StopCertificate,
)
from duende.clock import SYSTEM_CLOCK, Clock
from duende.config.model import DaemonConfig
from duende.errors import AlreadyRunningError, DuendeError, SignalError, StateError
from duende.ids import DaemonId
from duende.readiness import Readiness
from duende.restart import RestartState
from duende.signals import Signal
from duende.states import DaemonStatus, FailureKind, FailureReason, HealthStatus, Phase, ProcessExit
from duende.supervision import (
    NONE_SENT,
    Launcher,
    SupervisorEvent,
    Telling,
    Wish,
    health_of,
    restarted,
    spread,
)

FIELDS = """_began _early _import_path _launched _launcher _launching _lock _readiness _sent _stopping
_timer adapter config_hash daemon_id last_exit last_stop next_restart_at note restart_state started_at trace wish"""


class Supervisor(Telling):
    """One daemon and everything that is decided about it."""

    __slots__ = tuple(FIELDS.split())

    def __init__(
        self,
        config: DaemonConfig,
        adapter: PlatformAdapter,
        launcher: Launcher,
        emit: Callable[[SupervisorEvent], None],
        *,
        clock: Clock = SYSTEM_CLOCK,
        daemon_id: str | None = None,
        config_hash: str = "",
        import_path: str = "",
    ) -> None:
        self.config = config
        self.config_hash = config_hash
        self.daemon_id = daemon_id or str(DaemonId.new())
        self.status = DaemonStatus(Phase.CREATED)
        self.handle: DaemonHandle | None = None
        self.wish = Wish.DOWN
        self.health: HealthStatus | None = None
        self.restart_state = RestartState()
        self.last_exit: ProcessExit | None = None
        self.last_stop: StopCertificate | None = None
        self.started_at: float | None = None  # wall clock of the last start that became ready
        self.next_restart_at: float | None = None  # monotonic time of the restart that is planned
        self.note = ""  # what the daemon last said of itself (STATUS=)
        self.adapter = adapter
        self._launcher = launcher
        self._emit_event = emit
        self._clock = clock
        self._import_path = import_path
        self._lock: asyncio.Lock | None = None
        self._launching = False
        self._early: tuple[AdapterEvent, ...] = ()  # reports that came before the answer of the start
        self._began = 0.0
        self.trace: dict[str, str] = {}
        """Given to the next instance: TRACEPARENT of the span it is started in."""
        self._timer: asyncio.TimerHandle | None = None
        self._readiness: Readiness | None = None
        self._sent = NONE_SENT
        """Signals that an operator sent to the present process: an exit by one of them is no crash."""
        self._waiting: tuple[asyncio.Future[None], ...] = ()
        self._stopping: asyncio.Task[StopCertificate] | None = None
        self._launched: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start and wait until it is ready.

        Raises:
            AlreadyRunningError: it runs, or is about to.
            DuendeError: the start failed; the error of the first failure.
        """
        self.begin()
        await self.ready()

    def begin(self) -> None:
        """Start without waiting.

        Raises:
            AlreadyRunningError: it runs, or is about to.
        """
        if (
            self._launching
            or self._stopping is not None
            or not (self.status.is_terminal or self.status.phase is Phase.CREATED)
        ):
            raise AlreadyRunningError(
                f"cannot start {self.name!r}: it is {self.status} already (pid {self.pid})",
                remedy="stop or restart it instead",
            )
        self.wish = Wish.UP
        self.restart_state = RestartState()
        self._cancel_timer()
        self._go()

    async def ready(self) -> None:
        """Wait until Running; raises as `start` does."""
        await self.expect()

    def expect(self) -> asyncio.Future[None]:
        """What `ready` waits for, to be asked before the daemon can have failed."""
        future = asyncio.get_running_loop().create_future()
        if self.status.phase is Phase.RUNNING:
            future.set_result(None)
        elif self.status.is_terminal and self.next_restart_at is None:
            future.set_exception(StateError(f"{self.name!r} is {self.status}, and about to stay so"))
        else:
            self._waiting += (future,)
        return future

    async def stop(self, wish: Wish = Wish.DOWN) -> StopCertificate:
        """Stop, and keep it stopped; harmless when it is stopped. Interrupts a start under way. *wish* is what stays wanted of its name."""
        self.wish = wish
        self._cancel_timer()
        return await self._end("stopped by the operator" if wish is Wish.DOWN else "to be replaced")

    async def restart(self) -> None:
        """Stop if needed, then start and wait until it is ready; raises as `start` does."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            await self.stop()
            self.begin()
        await self.ready()

    async def signal(self, signal: Signal) -> None:
        """Send *signal*; STOP and CONT pause and resume.

        Raises:
            SignalError: nothing runs that could get it.
            PlatformError: the platform did not deliver it.
        """
        if self.handle is None or not self.status.can_signal:
            raise SignalError(
                f"cannot send {signal.value} to {self.name!r}: it is {self.status}", remedy="start it first"
            )
        # Noted before it is sent: the exit can be here before the answer is.
        self._sent |= {signal.number()}
        await self.adapter.signal(self.handle, signal)
        if signal is Signal.STOP and self.status.phase is Phase.RUNNING:
            self._to(Phase.PAUSED, "paused")
        elif signal is Signal.CONT and self.status.phase is Phase.PAUSED:
            self._to(Phase.RUNNING, "resumed")

    def _go(self) -> None:
        self._launching = True
        self._to(Phase.STARTING, "starting")
        self._launcher.request_launch(self)

    def request(self) -> SpawnRequest:
        """What the launcher gives to the adapter."""
        self._began = self._clock.monotonic()
        self._sent = NONE_SENT
        env, self.trace = self.trace, {}
        return SpawnRequest(
            daemon_id=self.daemon_id,
            config=self.config,
            env=env,
            config_hash=self.config_hash,
            import_path=self._import_path,
        )

    def launched(self, result: DaemonHandle | Exception) -> None:
        """Take the launcher's answer."""
        self._launching = False
        early, self._early = self._early, ()
        if self._launched is not None and not self._launched.done():
            self._launched.set_result(None)
        if isinstance(result, Exception):
            self._failed_to_start(result, FailureReason(FailureKind.START, 0, str(result)))
            return
        self.handle = result
        ended = any(event.kind is EventKind.EXITED for event in early)
        if self.status.phase is Phase.STARTING and not ended:
            self._readiness = Readiness(self.config, self.adapter, result, self._on_ready, self._on_late)
            self._readiness.begin()
        for event in early:
            self.on_event(event)

    def _on_ready(self) -> None:
        self._readiness = None
        if self.status.phase is not Phase.STARTING:
            return
        self.started_at = self._clock.wall()
        self._to(Phase.RUNNING, "running")
        self._release(None)

    def _on_late(self, why: str) -> None:
        self._readiness = None
        if self.status.phase is Phase.STARTING:
            error = StateError(
                f"cannot start {self.name!r}: {why}", remedy="raise readiness.timeout, or see its log"
            )
            self._end_failing(error, FailureReason(FailureKind.START, 0, why), 0.0)

    def replace(self, why: str) -> None:
        """It is unhealthy: end this instance, once, and go on by the restart policy as after a crash; never against an operator's stop."""
        if self.wish is Wish.UP and self.status.is_active and self._stopping is None:
            reason = FailureReason(FailureKind.HEALTH_CHECK_TIMEOUT, 0, why)
            ran_for = self._clock.monotonic() - self._began
            self._end_failing(StateError(f"{self.name!r} is unhealthy: {why}"), reason, ran_for)

    def _end_failing(self, error: StateError, reason: FailureReason, ran_for: float) -> None:
        async def end() -> StopCertificate:
            try:
                certificate = await self._stop_instance()
            finally:
                self._stopping = None
            if self.wish is Wish.DOWN or not certificate.proven:  # a second one might run beside it
                self._settle_stop(certificate)
                self._release(error)
            else:
                self._failed_to_start(error, reason, ran_for)
            return certificate

        self._to(Phase.STOPPING, "stopping", str(error))
        self._stopping = asyncio.create_task(end())

    def _failed_to_start(self, error: Exception, reason: FailureReason, ran_for: float = 0.0) -> None:
        self._to(Phase.FAILED, "failed", str(error), reason)
        self._release(error if isinstance(error, DuendeError) else StateError(str(error)))
        self._decide(None, ran_for)

    def on_event(self, event: AdapterEvent) -> None:
        """Take a report of the adapter about this daemon."""
        if self._launching and event.kind in (EventKind.EXITED, EventKind.READY, EventKind.LOG_LINE):
            self._early += (event,)
        elif event.kind is EventKind.EXITED and event.exit is not None:
            self._on_exit(event.exit, event.leftovers)
        elif event.kind in (EventKind.READY, EventKind.LOG_LINE):
            if self._readiness is not None:
                self._readiness.heard(event.kind)
        elif event.kind is EventKind.STATUS:
            self.note = event.detail
        elif event.kind is EventKind.LIMIT:
            self._emit("limit", event.detail)
        elif event.kind is EventKind.RESTARTED and self.handle is not None:
            self.handle, self.restart_state = restarted(self.handle, self.restart_state, event)
            self.started_at, self.health = self._clock.wall(), None
            self._emit("restarted", event.detail)
        elif (health := health_of(event)) is not None:
            if (
                self.status.is_active or self.status.phase is Phase.STARTING
            ):  # else of one that is on its way out
                self.health = health
                self._emit("health", event.detail)
        elif event.kind in (EventKind.LOG_LOST, EventKind.ALERT, EventKind.OUT_OF_MEMORY):
            self._emit(event.kind.value, event.detail)

    def _on_exit(self, seen: ProcessExit, leftovers: bool) -> None:
        self.last_exit = seen
        self._drop_readiness()
        self._emit("exited", str(seen))
        if self._stopping is not None or self.status.phase is Phase.STOPPING or self.status.is_terminal:
            return
        if leftovers:
            self._stopping = asyncio.create_task(self._end_leftovers(seen))
        else:
            self._settle_exit(seen)

    async def _end_leftovers(self, seen: ProcessExit) -> StopCertificate:
        """The main process is gone, others of it are not: nothing starts anew before they are."""
        self._to(Phase.STOPPING, "stopping", f"{seen}; ending what it left")
        certificate = await self._stop_instance()
        self._stopping = None
        self._settle_exit(seen)
        return certificate

    def _settle_exit(self, seen: ProcessExit) -> None:
        expected = seen.signal is not None and seen.signal in self._sent
        if seen.ok or (expected and self.wish is Wish.DOWN):
            self._to(Phase.STOPPED, "stopped", str(seen))
        else:
            self._to(Phase.FAILED, "failed", str(seen), seen.failure())
        log = f"see its log: duende logs {self.name}"
        self._release(StateError(f"{self.name!r} ended before it was ready: {seen}", remedy=log))
        if (
            not self.config.restart.delegate
        ):  # then the platform has decided already, and this was the last end
            self._decide(seen, self._clock.monotonic() - self._began)

    def _decide(self, seen: ProcessExit | None, ran_for: float) -> None:
        decision = restart.decide(
            self.config.restart,
            self.restart_state,
            exit=seen,
            ran_for=ran_for,
            now=self._clock.monotonic(),
            wanted_stop=self.wish is Wish.DOWN,
            expected_signal=seen is not None and seen.signal in self._sent,
            rng=spread if self.config.restart.jitter else None,
        )
        self.restart_state = decision.state
        if isinstance(decision, restart.Restart):
            self._plan(decision.delay)
        elif isinstance(decision, restart.GiveUp):
            self.status = DaemonStatus.failed(FailureReason(FailureKind.GAVE_UP, 0, decision.reason))
            self._emit("gave-up", decision.reason)

    def _plan(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self.next_restart_at = self._clock.monotonic() + delay
        self._emit("restarting", f"in {delay:g} s, restart {self.restart_state.total}")
        if delay <= 0:
            self._again()
        else:
            self._timer = loop.call_later(delay, self._again)

    def _again(self) -> None:
        self._timer = self.next_restart_at = None
        if self.wish is Wish.UP and self.status.is_terminal and not self._launching:
            self._go()

    async def _end(self, why: str) -> StopCertificate:
        while self._launching:  # the answer is milliseconds away and says which process to end
            if self._launched is None or self._launched.done():
                self._launched = asyncio.get_running_loop().create_future()
            await self._launched
        self._cancel_timer()  # a start that failed may have planned the next one
        if self._stopping is None:
            if self.handle is None or self.status.phase in (Phase.CREATED, Phase.STOPPED):
                return self._nothing_to_stop()
            self._stopping = asyncio.create_task(self._end_now(why))
        return await asyncio.shield(self._stopping)

    async def _end_now(self, why: str) -> StopCertificate:
        self._drop_readiness()
        if not self.status.is_terminal:
            self._to(Phase.STOPPING, "stopping", why)
        self._release(StateError(f"{self.name!r} was stopped before it was ready"))
        try:
            certificate = await self._stop_instance()
        finally:
            self._stopping = None
        self._settle_stop(certificate)
        return certificate

    def _settle_stop(self, certificate: StopCertificate) -> None:
        if certificate.proven:
            self._to(Phase.STOPPED, "stopped", certificate.proof)
        else:
            reason = FailureReason(FailureKind.INTERNAL, 0, f"stop blocked: {certificate.proof}")
            self._to(Phase.FAILED, "failed", certificate.proof, reason)

    async def _stop_instance(self) -> StopCertificate:
        if self.handle is None:
            return self._nothing_to_stop()
        self.last_stop = await self.adapter.stop(self.handle, self.config.shutdown_timeout)
        return self.last_stop

    def _nothing_to_stop(self) -> StopCertificate:
        if self.status.phase in (Phase.CREATED, Phase.FAILED):
            self._to(Phase.STOPPED, "stopped", "nothing was running")
        return self.last_stop or StopCertificate(name=self.name, proven=True, proof="nothing was running")

    def adopted(self, handle: DaemonHandle, state: RestartState, started_at: float | None = None) -> None:
        """The adapter found the process of an earlier manager: it is Running, and was not started again."""
        self.handle, self.restart_state, self.wish = handle, state, Wish.UP
        self.status = DaemonStatus(Phase.RUNNING)
        self._began = self._clock.monotonic()
        self.started_at = started_at or self._clock.wall()
        self._emit("running", "adopted from an earlier manager")

    def _drop_readiness(self) -> None:
        if self._readiness is not None:
            self._readiness.cancel()
            self._readiness = None

    def _cancel_timer(self) -> None:
        self.next_restart_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
