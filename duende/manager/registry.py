"""What the manager knows: the daemons by name, how they are, what they said and what happened to them."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Callable

from duende.adapters.contract import PlatformAdapter, SettingReport, SupportsLogs
from duende.clock import SYSTEM_CLOCK, Clock
from duende.config import validate
from duende.config.model import DaemonConfig
from duende.errors import ConfigError, InstanceNotFoundError, NotFoundError, NotSupportedError, StateError
from duende.manager.adapters import Adapters
from duende.manager.folders import Folders
from duende.manager.journal import Entry, Journal
from duende.manager.launching import BatchLauncher
from duende.manager.view import DaemonView, view_of
from duende.states import Phase
from duende.supervision import SupervisorEvent, Wish
from duende.supervisor import Supervisor

HISTORY = 10_000
"""Events kept for whoever asks later."""
Lines = list[str]
Settings = list[SettingReport]


class Registry:
    """The knowing half of `DaemonManager`; the acting half is there."""

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
        self._adapters = Adapters(adapter, self.folders, keep=keep)
        self._daemons: dict[str, Supervisor] = {}
        self._by_id: dict[str, Supervisor] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[SupervisorEvent], None]] = []
        self._journal = Journal(
            self.folders.state_dir, self._entries, ahead=keep and not self.folders.temporary
        )
        self._emit = self._on_supervisor_event
        self._launcher = BatchLauncher(self._spawn_task, self._journal.record)

    @property
    def adapter(self) -> PlatformAdapter:
        """The adapter of daemons that do not ask for another.

        Raises:
            StateError: the manager is not open.
        """
        return self._adapters.default

    def adapter_of(self, config: DaemonConfig) -> PlatformAdapter:
        """The adapter that runs a daemon with this configuration.

        Raises:
            NotSupportedError: it is not available here.
        """
        return self._adapters.of(config)

    def register(
        self, config: DaemonConfig, *, import_path: str = "", checked: bool = False, daemon_id: str = ""
    ) -> DaemonView:
        """Make a daemon known; it is not started. *checked* says that the configuration was validated already, *daemon_id* which id it
        has; the default is the one an earlier manager gave to the name, or a new one.

        Raises:
            ConfigError: the configuration is wrong, or the name is taken.
            NotSupportedError: its adapter is not available here.
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
        supervisor = self._supervise(config, daemon_id or (earlier.daemon_id if earlier else ""), import_path)
        return view_of(supervisor, self._clock.monotonic())

    def replace(self, config: DaemonConfig, *, daemon_id: str, wish: Wish) -> Supervisor:
        """Put a new definition, with an id of its own, in the place of the daemon of that name; *wish* is what was wanted of the old one.

        Raises:
            NotFoundError: there is none of that name.
            StateError: it is active.
            NotSupportedError: the new one's adapter is not available here.
        """
        old = self._get(config.name)
        if not old.status.is_terminal and old.status.phase is not Phase.CREATED:
            raise StateError(f"cannot replace {config.name!r}: it is {old.status}", remedy="stop it first")
        supervisor = self._supervise(config, daemon_id, "")
        supervisor.wish = wish
        self._drop(old)
        return supervisor

    def _supervise(self, config: DaemonConfig, daemon_id: str, import_path: str) -> Supervisor:
        supervisor = Supervisor(
            config,
            self._adapters.of(config),
            self._launcher,
            self._emit,
            clock=self._clock,
            daemon_id=daemon_id or None,
            import_path=import_path,
        )
        self._daemons[config.name] = supervisor
        self._by_id[supervisor.daemon_id] = supervisor
        return supervisor

    def _drop(self, supervisor: Supervisor) -> None:
        self._by_id.pop(supervisor.daemon_id, None)
        forget = getattr(supervisor.adapter, "forget", None)
        if forget is not None:
            forget([supervisor.daemon_id])
        self._journal.touch()

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
        self._journal.forget(name)
        self._drop(supervisor)

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
        adapter = supervisor.adapter
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

    def config(self, name: str) -> DaemonConfig:
        """The configuration that is in force for a daemon, with what was changed while it ran.

        Raises:
            NotFoundError: there is none of that name.
        """
        return self._get(name).config

    async def explain(self, name: str) -> Settings:
        """What the platform made of each setting of a running daemon, read back from it.

        Raises:
            NotFoundError: there is none of that name.
            InstanceNotFoundError: it does not run.
            StatusFailedError: the platform did not say.
        """
        supervisor = self._get(name)
        if supervisor.handle is None or supervisor.status.is_terminal:
            raise InstanceNotFoundError(
                f"cannot explain {name!r}: it is {supervisor.status}", remedy="start it first"
            )
        return await supervisor.adapter.explain(supervisor.handle, supervisor.config)

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

    @property
    def journal(self) -> Journal:
        """What is kept of the daemons from one manager to the next."""
        return self._journal

    def _on_supervisor_event(self, event: SupervisorEvent) -> None:
        self.events.append(event)
        for listener in list(self._listeners):
            listener(event)

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
                ended=supervisor.status.is_terminal and supervisor.next_restart_at is None,
                started_at=supervisor.started_at,
            )
            for name, supervisor in self._daemons.items()
        }
