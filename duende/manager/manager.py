"""The manager: a registry of supervisors over one adapter, with the operations people ask for."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Self

from duende.adapters.contract import (
    AdapterEvent,
    Ownership,
    PlatformAdapter,
    StopCertificate,
    SupportsLogs,
)
from duende.clock import SYSTEM_CLOCK, Clock
from duende.config import validate
from duende.config.model import DaemonConfig, RestartPolicy
from duende.errors import (
    ConfigError,
    DuendeError,
    NotFoundError,
    NotSupportedError,
    StateError,
)
from duende.manager.folders import Folders
from duende.manager.health import HealthWatch
from duende.manager.journal import Entry, Journal
from duende.manager.launching import BatchLauncher
from duende.manager.view import DaemonView, view_of
from duende.signals import Signal
from duende.supervision import SupervisorEvent, Wish
from duende.supervisor import Supervisor

HISTORY = 10_000
"""Events kept for whoever asks later."""
Certificates = list[StopCertificate]
Lines = list[str]
Names = list[str]


class DaemonManager:
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
        self.folders = Folders(state_dir, runtime_dir)
        self.events: collections.deque[SupervisorEvent] = collections.deque(maxlen=HISTORY)
        """The latest events, oldest first."""
        self._clock = clock
        self._keep = keep
        self._given = adapter
        self._adapter: PlatformAdapter | None = adapter
        self._daemons: dict[str, Supervisor] = {}
        self._by_id: dict[str, Supervisor] = {}
        self._launcher = BatchLauncher(lambda: self.adapter, self._spawn_task)
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[SupervisorEvent], None]] = []
        self._journal = Journal(self.folders.state_dir, self._entries)
        self._health = HealthWatch(self.folders.runtime_dir, self._on_unhealthy, clock, lambda: self.adapter)
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
        if self._adapter is None:
            from duende.adapters.choose import default_adapter

            self._adapter = default_adapter(self.folders.runtime_dir, self.folders.state_dir, keep=self._keep)
        self._adapter.subscribe(self._on_adapter_event)
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
        if self._adapter is not None:
            await self._adapter.close()
        self.folders.give_back()

    @property
    def adapter(self) -> PlatformAdapter:
        """The adapter in use.

        Raises:
            StateError: the manager is not open.
        """
        if self._adapter is None:
            raise StateError("the manager is not open", remedy="use `async with DaemonManager(...)`")
        return self._adapter

    def register(self, config: DaemonConfig, *, import_path: str = "", checked: bool = False) -> DaemonView:
        """Make a daemon known; it is not started. *checked* says that the configuration was validated already.

        Raises:
            ConfigError: the configuration is wrong, or the name is taken.
        """
        if not checked:
            validate(config)
        if config.name in self._daemons:
            raise ConfigError(
                f"cannot register {config.name!r}: the name is taken",
                remedy="unregister it first, or choose another",
                key="name",
            )
        earlier = self._journal.entries.get(config.name)
        supervisor = Supervisor(
            config,
            self.adapter,
            self._launcher,
            self._on_supervisor_event,
            clock=self._clock,
            daemon_id=earlier.daemon_id if earlier else None,
            import_path=import_path,
        )
        self._daemons[config.name] = supervisor
        self._by_id[supervisor.daemon_id] = supervisor
        return view_of(supervisor, self._clock.monotonic())

    def find(self, name: str) -> Supervisor | None:
        """The supervisor of *name*, or None."""
        return self._daemons.get(name)

    async def unregister(self, name: str) -> None:
        """Forget a daemon that does not run.

        Raises:
            NotFoundError: there is none of that name.
            StateError: it is active.
        """
        supervisor = self._get(name)
        if not supervisor.status.is_terminal and supervisor.handle is not None:
            raise StateError(f"cannot unregister {name!r}: it is {supervisor.status}", remedy="stop it first")
        await supervisor.stop()
        del self._daemons[name]
        self._by_id.pop(supervisor.daemon_id, None)
        forget = getattr(self.adapter, "forget", None)
        if forget is not None:
            forget([supervisor.daemon_id])
        self._journal.touch()

    async def resume(self) -> Names:
        """After registering: adopt what an earlier manager left running; the names of those adopted."""
        adopted = []
        for name, entry in self._journal.entries.items():
            supervisor = self._daemons.get(name)
            if supervisor is None or entry.handle is None or supervisor.status.can_signal:
                continue
            if await self.adapter.adopt(entry.handle) is Ownership.OURS:
                supervisor.config_hash = entry.handle.config_hash
                supervisor.adopted(entry.handle, entry.restart_state)
                adopted.append(name)
        return adopted

    def wanted_at_boot(self, name: str) -> bool:
        """Whether a manager that comes up starts this daemon: autostart, unless an operator's stop is on record and the policy respects it."""
        supervisor = self._get(name)
        entry = self._journal.entries.get(name)
        if (
            entry is not None
            and entry.wish == Wish.DOWN.value
            and supervisor.config.restart.policy is RestartPolicy.UNLESS_STOPPED
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
        results: dict[str, Exception | None] = {}
        begun = []
        for name in names:
            try:
                supervisor = self._get(name)
                supervisor.begin()
                begun.append((name, supervisor.expect()))
            except DuendeError as error:
                results[name] = error
        for name, ready in begun:
            try:
                await ready
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

    @property
    def journal_set_aside(self) -> str | None:
        """Where an unreadable journal was moved to, None when there was none."""
        return self._journal.set_aside

    async def stop(self, name: str) -> StopCertificate:
        """Stop and keep stopped; harmless when it is stopped already.

        Raises:
            NotFoundError: there is none of that name.
        """
        return await self._get(name).stop()

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

    def status(self, name: str) -> DaemonView:
        """How one daemon is.

        Raises:
            NotFoundError: there is none of that name.
        """
        return view_of(self._get(name), self._clock.monotonic())

    def list(self) -> list[DaemonView]:
        """How all daemons are, in the order they were registered."""
        now = self._clock.monotonic()
        return [view_of(supervisor, now) for supervisor in self._daemons.values()]

    async def logs(self, name: str, lines: int = 100) -> Lines:
        """The last lines of a daemon's output.

        Raises:
            NotFoundError: there is none of that name.
            NotSupportedError: the adapter keeps no output.
        """
        supervisor = self._get(name)
        adapter = self.adapter
        if not isinstance(adapter, SupportsLogs):
            raise NotSupportedError(adapter.platform.value, f"show the output of {name!r}")
        return await adapter.logs(supervisor.handle, lines) if supervisor.handle is not None else []

    def log_path(self, name: str) -> str | None:
        """The file a daemon's output goes to, None where it is not captured or was never started.

        Raises:
            NotFoundError: there is none of that name.
        """
        handle = self._get(name).handle
        return handle.data.get("log") if handle is not None else None

    def subscribe(self, listener: Callable[[SupervisorEvent], None]) -> Callable[[], None]:
        """Call *listener* with every event from now on; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def watch(self) -> AsyncIterator[SupervisorEvent]:
        """Every event from now on."""
        queue: asyncio.Queue[SupervisorEvent] = asyncio.Queue()
        cancel = self.subscribe(queue.put_nowait)
        try:
            while True:
                yield await queue.get()
        finally:
            cancel()

    async def shutdown_all(self) -> Certificates:
        """Stop every daemon side by side and prove that all are gone; what an operator wanted up stays wanted in the journal."""
        self._journal.freeze()
        stops = [supervisor.stop() for supervisor in self._daemons.values()]
        return list(await asyncio.gather(*stops)) if stops else []

    def _on_adapter_event(self, event: AdapterEvent) -> None:
        supervisor = self._by_id.get(event.daemon_id)
        if supervisor is not None:
            supervisor.on_event(event)

    def _on_supervisor_event(self, event: SupervisorEvent) -> None:
        self.events.append(event)
        supervisor = self._daemons.get(event.name)
        if supervisor is not None:
            if event.kind == "running":
                self.folders.write_pid(supervisor.config, supervisor.pid)
                self._health.begin(supervisor)
            elif event.kind in ("stopped", "failed", "exited", "gave-up"):
                self._health.end(supervisor)
                if event.kind != "exited":
                    self.folders.remove_pid(supervisor.config)
            elif event.kind == "health":
                self._restart_if_unhealthy(supervisor)
            self._journal.touch()
        for listener in list(self._listeners):
            listener(event)

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
            self._spawn_task(self._restart_unhealthy(supervisor))

    async def _restart_unhealthy(self, supervisor: Supervisor) -> None:
        try:
            await supervisor.restart()
        except DuendeError:
            return  # its state and its events say so; the restart policy goes on from there

    def _get(self, name: str) -> Supervisor:
        supervisor = self._daemons.get(name)
        if supervisor is None:
            from difflib import get_close_matches

            close = get_close_matches(name, self._daemons, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else "see `duende ps`"
            raise NotFoundError(f"there is no daemon {name!r}", remedy=hint)
        return supervisor

    def _spawn_task(self, work: collections.abc.Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _entries(self) -> dict[str, Entry]:
        return {
            name: Entry(
                daemon_id=supervisor.daemon_id,
                wish=supervisor.wish.value,
                handle=supervisor.handle if not supervisor.status.is_terminal else None,
                restart_state=supervisor.restart_state,
            )
            for name, supervisor in self._daemons.items()
        }
