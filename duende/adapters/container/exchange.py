"""The adapter's state: engines, records, the stream of events of each engine, and how an end becomes an exit."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

import msgspec

from duende.adapters.container import parse, source
from duende.adapters.container.checks import Check, watch_health
from duende.adapters.container.detect import choose, engine_for, need_package, runtime_named
from duende.adapters.container.engine import Engine, Event, Happening, Runtime, State
from duende.adapters.container.looking import judge_again, look_now_and_then
from duende.adapters.container.pausing import stopped
from duende.adapters.container.records import (
    RECONNECT_FIRST,
    RECONNECT_MAX,
    SETTLE,
    SETTLE_EVERY,
    SETTLE_MISSED,
    STARTS_AT_ONCE,
    TIMEOUT,
    Doomed,
    Listener,
    Record,
)
from duende.adapters.container.watching import watch
from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, EventSink, Platform
from duende.adapters.native.notify import NotifySocket
from duende.adapters.used import Used
from duende.errors import (
    DuendeError,
    InstanceNotFoundError,
    NotSupportedError,
    PlatformIOError,
    PlatformTimeoutError,
)
from duende.kernel.process import boot_id
from duende.states import ProcessExit

EARLY_MAX = 1000


class Exchange:
    """State and events; the verbs are in `ContainerAdapter`."""

    platform: ClassVar[Platform] = Platform.CONTAINER

    def __init__(
        self,
        *,
        runtime: str | None = None,
        socket: str | None = None,
        image: str | None = None,
        timeout: float = TIMEOUT,
        runtime_dir: str | None = None,
        state_dir: str | None = None,
        keep: bool = False,
    ) -> None:
        if runtime is not None and runtime_named(runtime) is not Runtime.CONTAINERD:
            need_package()
        self._own_folder: str | None = None
        if runtime_dir is None:
            import tempfile

            self._own_folder = tempfile.mkdtemp(prefix="duende-")
        self.runtime_dir = os.path.abspath(runtime_dir or str(self._own_folder))
        self.state_dir = os.path.abspath(state_dir or self.runtime_dir)
        self.image = image
        self.timeout = timeout
        self._wanted = (runtime, socket)
        self._keep = keep
        self._engine: Engine | None = None
        self._engines: dict[tuple[str, str], Engine] = {}
        self._choosing: asyncio.Lock | None = None
        self._listeners: dict[tuple[str, str], Listener] = {}
        self._records: dict[str, Record] = {}
        self._used = Used()
        self._by_container: dict[str, Record] = {}
        self._doomed: dict[str, Doomed] = {}
        """By container name or id: perhaps made by a call that was given up, removed when that runtime answers."""
        self._sweeper: asyncio.Task[None] | None = None
        self._sinks: list[EventSink] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._following: set[asyncio.Task[None]] = set()
        """Who reads the output of daemons as it comes."""
        self._early_memory: dict[str, None] = {}
        """Containers that were killed for memory before they were known here, in order."""
        self._boot = boot_id()
        self._notify: NotifySocket | None = None
        self._no_init: set[str] = set()
        """Sockets of runtimes that have no init of their own to give."""
        self._starting = 0
        self._room: asyncio.Semaphore | None = None

    # -- engines -------------------------------------------------------------------------------------------------------------

    async def engine(self) -> Engine:
        """The engine in use, found on first use.

        Raises:
            NotSupportedError: no runtime answers, or the `docker` package is missing.
        """
        if self._choosing is None:
            self._choosing = asyncio.Lock()
        async with self._choosing:
            if self._engine is None:
                found = await choose(*self._wanted, self.timeout)
                if found.runtime is not Runtime.CONTAINERD and importlib.util.find_spec("docker") is None:
                    raise NotSupportedError(
                        "container",
                        f"use {found.runtime.value} here: the Python package 'docker' is missing",
                        remedy="pip install 'duende[container]'",
                    )
                self._engine = self._engine_at(found.runtime, found.socket)
        return self._engine

    def _engine_at(self, runtime: Runtime, socket: str) -> Engine:
        key = (runtime.value, socket)
        if key not in self._engines:
            self._engines[key] = engine_for(runtime, socket, self.timeout)
        return self._engines[key]

    def _engine_of(self, handle: DaemonHandle) -> Engine:
        return self._engine_at(runtime_named(handle.data.get("runtime", "")), handle.data.get("socket", ""))

    def _starts(self) -> asyncio.Semaphore:
        if self._room is None:
            self._room = asyncio.Semaphore(STARTS_AT_ONCE)
        return self._room

    def _ready_notify(self) -> str:
        """The folder of the socket for readiness, which is there from now on."""
        folder = f"{self.runtime_dir}/notify"
        if self._notify is None:
            try:
                os.makedirs(folder, mode=0o755, exist_ok=True)
            except OSError as error:
                raise PlatformIOError(
                    f"cannot use {self.runtime_dir}: {error.strerror}", remedy="choose another runtime folder"
                ) from error
            self._notify = NotifySocket(f"{folder}/{source.NOTIFY_SOCKET}", self._owner_of, self._emit)
            self._notify.attach(asyncio.get_running_loop())
        return folder

    def _owner_of(self, pid: int) -> str | None:
        for record in self._records.values():
            if record.exit is None and record.watch is not None and record.watch.owns(pid):
                return record.handle.daemon_id
        return None

    # -- events --------------------------------------------------------------------------------------------------------------

    async def _listen(self, engine: Engine) -> None:
        """Have the engine's events from now on.

        Raises:
            PlatformTimeoutError: the stream did not come up in time.
        """
        key = (engine.runtime.value, engine.socket)
        listener = self._listeners.get(key)
        if listener is None:
            listener = self._listeners[key] = Listener()
            listener.task = self._spawn_task(self._stream(engine, listener))
        if not listener.connected.is_set():
            listener.wanted.set()
        try:
            async with asyncio.timeout(self.timeout):
                await listener.connected.wait()
        except TimeoutError as error:
            raise PlatformTimeoutError(f"have events of {engine.runtime.value}", self.timeout) from error

    async def _stream(self, engine: Engine, listener: Listener) -> None:
        since, delay = "", RECONNECT_FIRST
        while True:
            trouble = "its stream of events ended"
            try:
                async for event in engine.events(since):
                    delay = RECONNECT_FIRST
                    since = event.at or since
                    if event.what is Happening.CONNECTED:
                        listener.connected.set()
                        self._spawn_task(self._look_after(engine))
                    else:
                        self._on_happening(event)
            except DuendeError as error:
                trouble = str(error)
            if listener.connected.is_set():
                listener.connected.clear()
                for record in self._of(engine):
                    self._emit(
                        AdapterEvent(
                            daemon_id=record.handle.daemon_id,
                            kind=EventKind.ALERT,
                            detail=f"{engine.runtime.value} went away ({trouble}); its daemons are watched by the kernel meanwhile",
                        )
                    )
            delay = RECONNECT_FIRST if await listener.asked_for(delay) else min(delay * 2, RECONNECT_MAX)

    def _of(self, engine: Engine) -> list[Record]:
        return [each for each in self._records.values() if each.engine is engine and each.exit is None]

    async def _look_after(self, engine: Engine) -> None:
        """The stream is there (again): ends may have been missed, and a runtime keeps only its latest events, none over its own restart."""
        for record in self._of(engine):
            self._settle(record)

    def _on_happening(self, event: Event) -> None:
        record = self._by_container.get(event.id)
        if record is None and event.what is Happening.OOM:
            self._early_memory[event.id] = None  # it was quicker than the answer of its start
            if len(self._early_memory) > EARLY_MAX:
                self._early_memory.pop(next(iter(self._early_memory)))
        if record is None or record.exit is not None:
            return
        if event.what in (Happening.DIED, Happening.REMOVED):
            self._settle(record)
        elif event.what is Happening.STARTED and record.delegated:
            self._spawn_task(self._restarted(record))
        elif event.what is Happening.OOM:
            self._tell_memory(record)
        elif event.what in (Happening.PAUSED, Happening.UNPAUSED):
            record.paused = event.what is Happening.PAUSED
        elif event.what in (Happening.HEALTHY, Happening.UNHEALTHY):
            self._on_verdict(record, event.what is Happening.HEALTHY)

    def _on_verdict(self, record: Record, well: bool) -> None:
        """The runtime's own health check says something else than before; of a daemon that is paused, or just was, it can say nothing."""
        record.ill = not well and (record.paused or time.monotonic() < record.doubted_until)
        if not record.ill:
            self._tell_verdict(record, well)
        elif not record.paused:  # the verdict about the pause came after it
            self._spawn_task(judge_again(record, self._tell_verdict))

    def _tell_verdict(self, record: Record, well: bool) -> None:
        record.ill = False
        kind = EventKind.HEALTHY if well else EventKind.UNHEALTHY
        detail = "passes" if well else "failed as often as health_check.retries says"
        self._emit(
            AdapterEvent(daemon_id=record.handle.daemon_id, kind=kind, detail=f"its health check {detail}")
        )

    def _tell_memory(self, record: Record) -> None:
        if not record.memory_told:
            record.memory_told = True
            detail = f"a process of container {record.handle.instance[:12]} was killed for memory"
            self._emit(
                AdapterEvent(daemon_id=record.handle.daemon_id, kind=EventKind.OUT_OF_MEMORY, detail=detail)
            )

    async def _restarted(self, record: Record) -> None:
        """The runtime has started it again by itself: hold its new processes."""
        try:
            state = await record.engine.inspect(record.handle.instance)
        except DuendeError:
            return  # it goes on: the next event or connection looks again
        if not state.alive or state.started_at == record.handle.data.get("started"):
            return
        record.release()
        await self._hold(record, state)
        self._begin_watch(record)
        detail = f"restart {state.restarts} by {record.engine.runtime.value}"
        self._emit(
            AdapterEvent(
                daemon_id=record.handle.daemon_id,
                kind=EventKind.RESTARTED,
                pid=record.handle.pid,
                detail=detail,
            )
        )

    async def _hold(self, record: Record, state: State) -> None:
        """Watch the processes of this run, and note which they are in the handle."""
        record.watch = await watch(state.id, state.pid, init=record.init)
        record.paused = state.paused
        data = {**record.handle.data, "started": state.started_at}
        pid, started = 0, 0
        if record.watch is not None:
            pid, started = record.watch.main, record.watch.main_started
            data["first"] = f"{record.watch.first}:{record.watch.first_started}"
        record.handle = msgspec.structs.replace(record.handle, pid=pid, start_time=started, data=data)
        record.paused = record.paused or stopped(record)

    def _begin_watch(self, record: Record) -> None:
        """Be told of its end from now on, and ask for its health where the runtime does not."""
        if record.watch is not None:
            record.watch.begin(lambda: self._settle(record))
        else:
            record.looking = self._spawn_task(look_now_and_then(record, self._settle))
        check = Check.from_json(record.handle.data.get("health", ""))
        if check is not None:
            handle = record.handle
            record.health = self._spawn_task(
                watch_health(
                    record.engine,
                    handle.instance,
                    handle.daemon_id,
                    check,
                    self._emit,
                    lambda: record.paused,
                )
            )

    # -- ends ----------------------------------------------------------------------------------------------------------------

    def _settle(self, record: Record) -> None:
        """Something happened to it: find out whether it has ended, and how."""
        record.nudge.set()
        if record.exit is None and (record.settling is None or record.settling.done()):
            record.settling = self._spawn_task(self._find_end(record))

    async def _find_end(self, record: Record) -> None:
        began = time.monotonic()
        while record.exit is None:
            record.nudge.clear()
            dead = record.watch is not None and record.watch.ended
            state: State | None = None
            try:
                state = await record.engine.inspect(record.handle.instance)
            except InstanceNotFoundError:
                self._ended(record, None)
                return
            except DuendeError:
                if not dead:
                    return  # nobody says that it has ended; the stream looks again when the runtime is back
            if state is not None:
                another = state.started_at != record.handle.data.get("started")
                if record.delegated and (state.restarting or (state.alive and another)):
                    return  # the runtime restarts it; STARTED says when
                if not state.alive or another:
                    self._ended(record, None if another else state)
                    return
                if not dead:
                    return
            missed = state is not None and record.missed(state) and self._known(record)
            if time.monotonic() >= began + (SETTLE_MISSED if missed else SETTLE):
                self._ended(record, None)
                return
            try:
                async with asyncio.timeout(SETTLE_EVERY):
                    await record.nudge.wait()
            except TimeoutError:
                continue  # the runtime's own report takes a little longer than the kernel's

    def _known(self, record: Record) -> bool:
        return record.watch is not None and record.watch.exit().known

    def _ended(self, record: Record, state: State | None) -> None:
        if record.exit is not None:
            return
        early = self._early_memory.pop(record.handle.instance, False) is None
        kernel, memory = None, early or (state is not None and state.oom_killed)
        if record.watch is not None:
            kernel = record.watch.exit()
            memory = memory or record.watch.out_of_memory
        seen = parse.process_exit(state, kernel=kernel, out_of_memory=memory, sent=record.sent)
        record.exit = seen
        record.release()
        if memory:
            self._tell_memory(record)
        for future in record.waiters:
            if not future.done():
                future.set_result(seen)
        record.waiters.clear()
        self._emit(
            AdapterEvent(
                daemon_id=record.handle.daemon_id, kind=EventKind.EXITED, exit=seen, pid=record.handle.pid
            )
        )

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _exit_of(self, daemon_id: str) -> ProcessExit | None:
        record = self._records.get(daemon_id)
        return record.exit if record is not None else None

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
