"""The manager: a registry of supervisors over one adapter, with the operations people ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Self

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    Ownership,
    PlatformAdapter,
    StopCertificate,
    SupportsFind,
    SupportsMassStop,
)
from duende.clock import SYSTEM_CLOCK, Clock
from duende.config.model import RestartPolicy
from duende.errors import (
    DuendeError,
)
from duende.manager.health import HealthWatch
from duende.manager.registry import Registry
from duende.manager.view import DaemonView
from duende.restart import RestartState
from duende.signals import Signal
from duende.supervision import SupervisorEvent, Wish
from duende.supervisor import Supervisor

Certificates = list[StopCertificate]
Names = list[str]


class DaemonManager(Registry):
    """Starts, watches, restarts and stops daemons.

    Use it as an asynchronous context manager. *state_dir* holds journal and logs, *runtime_dir* sockets and PID files; without them the
    manager keeps nothing beyond its own life. *adapter* defaults to the native one. With *keep* daemons go on when the manager ends
    without `shutdown_all`, and the next manager on the same folders adopts them.
    """

    def __init__(
        self,
        *,
        adapter: PlatformAdapter | None = None,
        state_dir: str | None = None,
        runtime_dir: str | None = None,
        keep: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(
            adapter=adapter, state_dir=state_dir, runtime_dir=runtime_dir, keep=keep, clock=clock
        )
        self._health = HealthWatch(self.folders.runtime_dir, self._on_unhealthy, clock)
        self._closing = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Take the folders (one manager for each) and connect the adapter.

        Raises:
            AlreadyRunningError: another manager has them.
            DaemonIOError: a folder cannot be used.
        """
        self.folders.take()
        self._adapters.open(self._on_adapter_event)
        self._journal.load()

    async def close(self) -> None:
        """Leave: stop everything unless daemons are to be kept, then let go of the folders."""
        if self._closing:
            return
        if not self._keep:
            await self.shutdown_all()
        self._closing = True
        self._health.close()
        for task in list(self._tasks):
            task.cancel()
        await self._journal.close()
        await self._adapters.close()
        self.folders.give_back()

    async def resume(self) -> Names:
        """After registering: adopt what an earlier manager left running; the names of those adopted.

        What runs under an earlier definition of a name is ended, so that the present one can start.
        """
        adopted: Names = []
        superseded = []
        if not self._journal.entries:
            return adopted
        for name, supervisor in list(self._daemons.items()):
            entry = self._journal.entries.get(name)
            if supervisor.status.can_signal:
                continue
            state = entry.restart_state if entry is not None else RestartState()
            handle = entry.handle if entry is not None else None
            if handle is not None and handle.daemon_id != supervisor.daemon_id:
                superseded.append((supervisor, handle))
                handle = None
            if handle is not None and await supervisor.adapter.adopt(handle) is Ownership.OURS:
                supervisor.config_hash = handle.config_hash
                supervisor.adopted(handle, state, entry.started_at if entry is not None else None)
                adopted.append(name)
            elif await self._find(supervisor, state):
                adopted.append(name)
        await asyncio.gather(*(self._end_superseded(*pair) for pair in superseded))
        return adopted

    @staticmethod
    async def _find(supervisor: Supervisor, state: RestartState) -> bool:
        """Adopt what was started under its id by a manager that had no time to write down where it is; whether there was anything."""
        adapter = supervisor.adapter
        if not isinstance(adapter, SupportsFind):
            return False
        handle = await adapter.find(supervisor.request())
        if handle is None or await adapter.adopt(handle) is not Ownership.OURS:
            return False
        supervisor.adopted(handle, state)
        return True

    async def _end_superseded(self, supervisor: Supervisor, handle: DaemonHandle) -> None:
        adapter = supervisor.adapter
        if handle.platform is not adapter.platform:
            adapter = self._adapters.on(handle.platform) or adapter
        if await adapter.adopt(handle) is Ownership.OURS:
            await adapter.stop(handle, supervisor.config.shutdown_timeout)

    def wanted_at_boot(self, name: str) -> bool:
        """Whether a manager that comes up starts this daemon: autostart, unless an operator's stop is on record and the policy respects it,
        or it had ended for good when an earlier manager was killed in this boot.
        """
        supervisor = self._get(name)
        entry = self._journal.entries.get(name)
        if entry is not None and (
            (entry.ended and entry.daemon_id == supervisor.daemon_id)
            or (
                entry.wish == Wish.DOWN.value
                and supervisor.config.restart.policy is RestartPolicy.UNLESS_STOPPED
            )
        ):
            return False
        return supervisor.config.autostart

    async def start(self, name: str) -> DaemonView:
        """Start and wait until Running.

        Raises:
            NotFoundError: there is none of that name.
            AlreadyRunningError: it runs already.
            DuendeError: it could not be started.
        """
        supervisor = self._get(name)
        await supervisor.start()
        return self.status(name)

    async def start_many(self, names: Iterable[str]) -> dict[str, Exception | None]:
        """Start all *names* side by side and wait; the error of each, or None."""
        return await self.begun(self.begin_each(names))

    def begin_each(self, names: Iterable[str]) -> dict[str, asyncio.Future[None] | DuendeError]:
        """Start all *names* side by side without waiting: what becomes ready, or the error, of each; `begun` waits."""
        begun: dict[str, asyncio.Future[None] | DuendeError] = {}
        for name in names:
            try:
                supervisor = self._get(name)
                supervisor.begin()
                begun[name] = supervisor.expect()
            except DuendeError as error:
                begun[name] = error
        return begun

    @staticmethod
    async def begun(starts: dict[str, asyncio.Future[None] | DuendeError]) -> dict[str, Exception | None]:
        """Wait for what `begin_each` began; the error of each, or None."""
        results: dict[str, Exception | None] = {}
        for name, start in starts.items():
            if isinstance(start, DuendeError):
                results[name] = start
                continue
            try:
                await start
                results[name] = None
            except DuendeError as error:
                results[name] = error
        return results

    def begin_many(self, names: Iterable[str]) -> None:
        """Start all *names* without waiting; what cannot be started says so in its state and events.

        Raises:
            NotFoundError: there is none of one of these names.
            AlreadyRunningError: one of them runs already.
        """
        for name in names:
            self._get(name).begin()

    async def stop(self, name: str) -> StopCertificate:
        """Stop and keep stopped; harmless when it is stopped already.

        Raises:
            NotFoundError: there is none of that name.
        """
        return await self._get(name).stop()

    def hand_over(self, name: str, environ: dict[str, str]) -> None:
        """Give *environ* to the next instance of *name*, and to no other: the trace in which it is started.

        Raises:
            NotFoundError: there is none of that name.
        """
        self._get(name).trace = environ

    async def restart(self, name: str) -> DaemonView:
        """Stop if it runs, start, wait until Running; raises as `start` does."""
        await self._get(name).restart()
        return self.status(name)

    async def signal(self, name: str, signal: Signal) -> None:
        """Send a signal to the main process.

        Raises:
            NotFoundError: there is none of that name.
            SignalError: nothing runs that could get it.
        """
        await self._get(name).signal(signal)

    async def shutdown_all(self) -> Certificates:
        """Stop every daemon side by side and prove that all are gone; what an operator wanted up stays wanted in the journal."""
        running: dict[PlatformAdapter, list[tuple[DaemonHandle, float]]] = {}
        for supervisor in self._daemons.values():
            if supervisor.handle is not None and supervisor.status.can_signal:
                stop = (supervisor.handle, supervisor.config.shutdown_timeout)
                running.setdefault(supervisor.adapter, []).append(stop)
        for adapter, orders in running.items():
            if isinstance(adapter, SupportsMassStop):
                adapter.begin_stops(orders)  # they end while we still count them
        self._journal.freeze()
        stops = [supervisor.stop() for supervisor in self._daemons.values()]
        return list(await asyncio.gather(*stops)) if stops else []

    def _on_adapter_event(self, event: AdapterEvent) -> None:
        supervisor = self._by_id.get(event.daemon_id)
        if supervisor is not None:
            supervisor.on_event(event)

    def _on_supervisor_event(self, event: SupervisorEvent) -> None:
        supervisor = self._daemons.get(event.name)
        if supervisor is not None:
            if event.kind == "running":
                self.folders.write_pid(supervisor.config, supervisor.pid)
                self._health.begin(supervisor)
                self._restart_if_unhealthy(
                    supervisor
                )  # the platform may have found it so before it was ready
            elif (
                event.kind == "restarted"
            ):  # by the platform itself: another process, whose health is another
                self.folders.write_pid(supervisor.config, supervisor.pid)
                self._health.end(supervisor)
                self._health.begin(supervisor)
            elif event.kind in ("stopping", "stopped", "failed", "exited", "gave-up"):
                self._health.end(supervisor)
                if event.kind not in ("stopping", "exited"):
                    self.folders.remove_pid(supervisor.config)
            self._journal.touch()
        super()._on_supervisor_event(event)
        if supervisor is not None and event.kind in ("health", "running"):
            # Last, so that what follows is told after it; and the platform may have found it ill before it was ready.
            self._restart_if_unhealthy(supervisor)

    def _on_unhealthy(self, supervisor: Supervisor, why: str) -> None:
        self._on_supervisor_event(
            SupervisorEvent(
                name=supervisor.name,
                kind="health",
                detail=why,
                status=supervisor.status,
                pid=supervisor.pid,
                at=self._clock.wall(),
            )
        )

    def _restart_if_unhealthy(self, supervisor: Supervisor) -> None:
        """Whoever found it unhealthy, our own watch or the platform: its policy says whether it is restarted."""
        config, health = supervisor.config, supervisor.health
        if (
            config.restart.policy is not RestartPolicy.NEVER
            and config.health_check.restart
            and health is not None
            and not health.is_healthy
            and supervisor.status.is_active
            and supervisor.wish is Wish.UP
        ):
            supervisor.replace(health.reason)
