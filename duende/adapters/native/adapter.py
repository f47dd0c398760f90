"""The native adapter: the verbs, in an asyncio loop, on top of one warden."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec

from duende.adapters.contract import (
    AdapterEvent,
    Capabilities,
    DaemonHandle,
    EventKind,
    EventSink,
    Ownership,
    Platform,
    PlatformAdapter,
    Probe,
    SpawnRequest,
    StopCertificate,
)
from duende.adapters.native import foreign, parse
from duende.adapters.native.link import Link, open_link
from duende.adapters.native.logs import prepare, tail
from duende.adapters.native.notify import NotifySocket
from duende.adapters.native.probe import probe_native
from duende.adapters.native.render import Launch, Renderer
from duende.config.model import DaemonConfig
from duende.errors import (
    InstanceNotFoundError,
    PlatformIOError,
    PlatformTimeoutError,
    SignalFailedError,
    SpawnError,
)
from duende.ids import DaemonId
from duende.kernel.process import boot_id, read_stat, start_time
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit

SPAWN_TIMEOUT = 30.0
"""Seconds for the warden to answer a start: a cold interpreter under load takes a few of them at most."""
SIGNAL_TIMEOUT = 5.0
STOP_MARGIN = 10.0
"""Seconds beyond the daemon's own deadline for KILL, the kernel and the last log lines."""


class Record:
    """What the adapter knows of one daemon it started or adopted."""

    __slots__ = ("exit", "handle", "leftovers", "log_path", "stop", "waiters", "watch")

    def __init__(self, handle: DaemonHandle, log_path: str | None) -> None:
        self.handle = handle
        self.log_path = log_path
        self.exit: ProcessExit | None = None
        self.leftovers = False
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.stop: asyncio.Future[tuple[Any, ...]] | None = None
        self.watch: foreign.Watch | None = None


class NativeAdapter(PlatformAdapter):
    """Daemons as processes of this system.

    *runtime_dir* and *state_dir* default to a private temporary folder. With *keep* the daemons and their warden go on when this process
    ends, and an adapter on the same *runtime_dir* finds them again; without it they are stopped.
    """

    platform: ClassVar[Platform] = Platform.NATIVE
    capabilities: ClassVar[Capabilities] = Capabilities(pause=True, logs=True, batch=True, proof_of_stop=True)

    def __init__(self, *, runtime_dir: str | None = None, state_dir: str | None = None, keep: bool = False, link: Link | None = None) -> None:
        self._own_folder: str | None = None
        if runtime_dir is None:
            import tempfile  # brings random, shutil and three compressors: only where it is needed

            self._own_folder = tempfile.mkdtemp(prefix="duende-")
        self.runtime_dir = runtime_dir or str(self._own_folder)
        self.state_dir = state_dir or self.runtime_dir
        self._keep = keep
        self._link = link
        self._hello: asyncio.Future[None] | None = None
        self._known: dict[int, str] = {}
        self._warden_pid = 0
        self._records: dict[str, Record] = {}
        self._by_pid: dict[int, str] = {}
        self._sinks: list[EventSink] = []
        self._batches: dict[int, Batch] = {}
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._serial = 0
        self._boot = boot_id()
        self._notify: NotifySocket | None = None
        self.renderer = Renderer(self.runtime_dir, self.state_dir, dict(os.environ))

    async def __aenter__(self) -> NativeAdapter:
        await self.prepare()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def helper_pid(self) -> int:
        """Process of the warden, 0 before the first start."""
        return self._warden_pid

    # -- verbs ---------------------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """Say whether processes can be supervised here."""
        return probe_native()

    async def prepare(self, *, python: bool = False) -> None:
        """Start the warden ahead of the first daemon; with *python* also the preloaded interpreter.

        Raises:
            PlatformIOError: the warden cannot be started.
        """
        link = await self._ready_link()
        if python:
            sample = SpawnRequest(daemon_id=str(DaemonId.new()), config=DaemonConfig(name="warm", daemon="duende.daemon:Daemon"))
            launch = self.renderer.render(sample)
            if launch.key is not None:
                link.send("warm", *launch.key)

    async def spawn(self, daemon: Any, config: DaemonConfig) -> DaemonHandle:
        """Start that *daemon* under *config*; see `PlatformAdapter.spawn`."""
        path = ""
        if daemon is not None:
            from duende.host.target import import_root, target_of

            config = msgspec.structs.replace(config, daemon=target_of(daemon), binary_path=None)
            path = import_root(daemon)
        from duende.config import validate

        validate(config)
        return await self.launch(SpawnRequest(daemon_id=str(DaemonId.new()), config=config, import_path=path))

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`."""
        result = (await self.launch_many([request]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def launch_many(self, requests: Sequence[SpawnRequest]) -> list[DaemonHandle | Exception]:
        """Start all *requests* side by side; a handle or the error of each, in order."""
        link = await self._ready_link()
        batch = self.begin_batch(link, requests)
        try:
            await asyncio.wait_for(asyncio.shield(batch.done), SPAWN_TIMEOUT)
        except TimeoutError:
            late = PlatformTimeoutError("start a daemon", SPAWN_TIMEOUT)
            return [batch.results.get(request.daemon_id, late) for request in requests]
        return [batch.results[request.daemon_id] for request in requests]

    def begin_batch(self, link: Link, requests: Sequence[SpawnRequest]) -> Batch:
        """Send a batch to the warden; its `done` is set when all are answered."""
        self._serial += 1
        batch = self._batches[self._serial] = Batch(self._serial, requests)
        for kind, settings, key, items in self._grouped(batch, link):
            if kind == "spawn":
                link.send("spawn", batch.number, settings, items)
            else:
                link.send("fork", batch.number, key, settings, items)
        self._finish_if_complete(batch)
        return batch

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the main process; see `PlatformAdapter.signal`."""
        record = self._records.get(handle.daemon_id)
        if record is None or record.watch is not None:
            foreign.send(handle, signal.number())
            return
        if record.exit is not None:
            raise InstanceNotFoundError(f"cannot send {signal.value} to {handle.name!r}: it has ended ({record.exit})")
        link = await self._ready_link()
        (answer,) = await self._ask(link, "signal", [(handle.daemon_id, signal.number())], SIGNAL_TIMEOUT)
        if answer == -1:
            raise InstanceNotFoundError(f"cannot send {signal.value} to {handle.name!r}: it has just ended")
        if answer:
            raise SignalFailedError(f"cannot send {signal.value} to {handle.name!r}: {os.strerror(answer)}")

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from the kernel."""
        record = self._records.get(handle.daemon_id)
        if record is None:
            return foreign.status(handle)
        if record.exit is not None:
            return DaemonStatus(Phase.STOPPED) if record.exit.ok else DaemonStatus.failed(record.exit.failure())
        if record.stop is not None:
            return DaemonStatus(Phase.STOPPING)
        stat = read_stat(handle.pid)
        return DaemonStatus(Phase.PAUSED if stat is not None and stat.state in "Tt" else Phase.RUNNING)

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and prove that nothing is left; see `PlatformAdapter.stop`."""
        return (await self.stop_many([handle], timeout))[0]

    async def stop_many(self, handles: Sequence[DaemonHandle], timeout: float) -> list[StopCertificate]:
        """Stop all *handles* side by side, one certificate each, in order."""
        ours: list[tuple[DaemonHandle, Record]] = []
        wanted: list[tuple[str, float]] = []
        loop = asyncio.get_running_loop()
        for handle in handles:
            record = self._records.get(handle.daemon_id)
            if record is None or record.watch is not None:
                continue
            if record.stop is None:
                record.stop = loop.create_future()
            wanted.append((handle.daemon_id, timeout))
            ours.append((handle, record))
        answers: dict[str, StopCertificate] = {}
        if ours:
            link = await self._ready_link()
            link.send("stop", 0, wanted)
            pending = [record.stop for _, record in ours if record.stop is not None]
            await asyncio.wait(pending, timeout=timeout + STOP_MARGIN)
            for handle, record in ours:
                answers[handle.daemon_id] = self._certificate(handle, record, timeout)
        for handle in handles:
            if handle.daemon_id not in answers:
                answers[handle.daemon_id] = await foreign.stop(handle, timeout)
        return [answers[handle.daemon_id] for handle in handles]

    async def wait(self, handle: DaemonHandle) -> ProcessExit:
        """Wait until the daemon has ended and say how."""
        record = self._records.get(handle.daemon_id)
        if record is None:
            return await foreign.wait(handle)
        if record.exit is not None:
            return record.exit
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        record.waiters.append(future)
        return await future

    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Look at a handle again."""
        return foreign.verify(handle, self._boot)

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take over a daemon that an earlier process started."""
        await self._ready_link()
        if handle.daemon_id in self._records:
            return Ownership.OURS
        found = foreign.verify(handle, self._boot)
        if found is Ownership.OURS:
            record = self._records[handle.daemon_id] = Record(handle, handle.data.get("log"))
            self._by_pid[handle.pid] = handle.daemon_id
            if self._known.get(handle.pid) != handle.daemon_id:
                record.watch = foreign.Watch(handle, lambda seen: self._on_exit(handle.daemon_id, seen, leftovers=False))
        return found

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output."""
        path = handle.data.get("log")
        return tail(path, lines) if path else []

    async def pause(self, handle: DaemonHandle) -> None:
        """Stop it from running."""
        await self.signal(handle, Signal.STOP)

    async def resume(self, handle: DaemonHandle) -> None:
        """Let it run on."""
        await self.signal(handle, Signal.CONT)

    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""
        self._sinks.append(sink)

    def watch_log(self, handle: DaemonHandle, pattern: str) -> None:
        """Report LOG_LINE once a line of output matches the regular expression *pattern*."""
        if self._link is not None:
            self._link.send("log", "watch", handle.daemon_id, pattern)

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Drop what is kept of daemons that have ended."""
        gone = [d for d in daemon_ids if d in self._records and self._records[d].exit is not None]
        for daemon_id in gone:
            record = self._records.pop(daemon_id)
            if record.watch is not None:
                record.watch.close()
            pipe = f"{self.runtime_dir}/{daemon_id}.log"
            if self._link is not None and not self._link.closed:
                self._link.send("log", "close", daemon_id)
            try:
                os.unlink(pipe)
            except FileNotFoundError:
                pass  # its output was not captured
        if gone and self._link is not None and not self._link.closed:
            self._link.send("forget", gone)

    async def close(self) -> None:
        """Stop what runs unless told to keep it, and let the warden go."""
        link = self._link
        if link is not None and not link.closed:
            if not self._keep:
                living = [r.handle for r in self._records.values() if r.exit is None or r.leftovers]
                if living:
                    await self.stop_many(living, 10.0)
            link.send("leave", self._keep)
            link.close()
            await foreign.reap_helper(link.pid, 0.0 if self._keep else STOP_MARGIN)
        self._link = None
        if self._notify is not None:
            self._notify.close()
            self._notify = None
        for record in self._records.values():
            if record.watch is not None:
                record.watch.close()
        if self._own_folder is not None:
            import shutil

            shutil.rmtree(self._own_folder, ignore_errors=True)

    # -- the warden's side ---------------------------------------------------------------------------------------------------

    async def _ready_link(self) -> Link:
        if self._link is None or self._link.closed or self._hello is None:
            self._connect(asyncio.get_running_loop())
        if self._link is None or self._hello is None:
            raise PlatformIOError("the warden has gone")
        if not self._hello.done():
            try:
                await asyncio.wait_for(asyncio.shield(self._hello), SPAWN_TIMEOUT)
            except TimeoutError:
                raise PlatformTimeoutError("reach the warden", SPAWN_TIMEOUT) from None
        return self._link

    def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            os.makedirs(self.runtime_dir, mode=0o711, exist_ok=True)
        except OSError as error:
            raise PlatformIOError(f"cannot use {self.runtime_dir}: {error.strerror}", remedy="choose another runtime folder") from error
        if self._link is None or self._link.closed:
            self._link = open_link(self.runtime_dir, keep=self._keep)
        self._hello = loop.create_future()
        if self._notify is None:
            self._notify = NotifySocket(self.renderer.notify_path, self._owner_of, self._emit)
            self._notify.attach(loop)
        self._link.attach(loop, self._on_message, self._on_lost)

    def _grouped(self, batch: Batch, link: Link) -> list[tuple[str, Any, Any, list[Any]]]:
        groups: dict[tuple[Any, ...], tuple[str, Any, Any, list[Any]]] = {}
        for request in batch.requests:
            daemon_id = request.daemon_id
            try:
                launch = self.renderer.render(request)
                self._prepare_log(launch, link)
            except Exception as error:  # noqa: BLE001  (one bad request must not stop the others: it is that request's answer)
                batch.results[daemon_id] = error
                continue
            kind = "spawn" if launch.key is None else "fork"
            name = (kind, id(launch.settings), launch.key[0] if launch.key else "")
            group = groups.get(name)
            if group is None:
                group = groups[name] = (kind, launch.settings, launch.key, [])
            group[3].append(launch.item)
            batch.logs[daemon_id] = launch.log[3] if launch.log else None
        return list(groups.values())

    def _prepare_log(self, launch: Launch, link: Link) -> None:
        if launch.log is not None:
            record = self._records.get(launch.daemon_id)
            if record is None or record.log_path != launch.log[3]:
                prepare(launch.log[3])
            link.send("log", *launch.log)

    async def _ask(self, link: Link, verb: str, body: Any, timeout: float) -> Any:
        self._serial += 1
        number = self._serial
        future = self._requests[number] = asyncio.get_running_loop().create_future()
        link.send(verb, number, body)
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise PlatformTimeoutError(f"{verb} a daemon", timeout) from None
        finally:
            self._requests.pop(number, None)

    def _on_message(self, message: tuple[Any, ...]) -> None:
        verb = message[0]
        if verb == "exits":
            for entry in message[1]:
                self._on_exit(entry[0], parse.process_exit(entry), leftovers=bool(entry[6]), pid=entry[1])
        elif verb == "spawned":
            self._on_spawned(message[1], message[2])
        elif verb == "stopped":
            record = self._records.get(message[2])
            if record is not None and record.stop is not None and not record.stop.done():
                record.stop.set_result(message)
        elif verb == "signalled":
            future = self._requests.get(message[1])
            if future is not None and not future.done():
                future.set_result(message[2])
        elif verb == "line":
            self._emit(AdapterEvent(daemon_id=message[1], kind=EventKind.LOG_LINE, detail=message[2]))
        elif verb == "lost":
            detail = f"{message[2]} bytes of output lost: {message[3]}"
            self._emit(AdapterEvent(daemon_id=message[1], kind=EventKind.LOG_LOST, detail=detail))
        elif verb == "hello":
            self._warden_pid = message[1]
            self._known = message[3]
            for entry in message[4]:
                self._on_exit(entry[0], parse.process_exit(entry), leftovers=bool(entry[6]), pid=entry[1])
            if self._hello is not None and not self._hello.done():
                self._hello.set_result(None)

    def _on_spawned(self, number: int, report: list[tuple[Any, ...]]) -> None:
        batch = self._batches.get(number)
        if batch is None:
            return
        for entry in report:
            daemon_id, pid = entry[0], entry[1]
            request = batch.by_id[daemon_id]
            if not pid:
                batch.results[daemon_id] = parse.spawn_error(request.config.name, entry)
                continue
            log = batch.logs.get(daemon_id)
            handle = DaemonHandle(
                daemon_id=daemon_id,
                name=request.config.name,
                platform=self.platform,
                instance=f"pid{pid}",
                pid=pid,
                start_time=start_time(pid),
                boot_id=self._boot,
                config_hash=request.config_hash,
                data={"log": log, "runtime": self.runtime_dir} if log else {"runtime": self.runtime_dir},
            )
            self._records[daemon_id] = Record(handle, log)
            self._by_pid[pid] = daemon_id
            batch.results[daemon_id] = handle
        self._finish_if_complete(batch)

    def _finish_if_complete(self, batch: Batch) -> None:
        if len(batch.results) == len(batch.by_id) and not batch.done.done():
            self._batches.pop(batch.number, None)
            batch.done.set_result(None)

    def _on_exit(self, daemon_id: str, seen: ProcessExit, *, leftovers: bool, pid: int = 0) -> None:
        record = self._records.get(daemon_id)
        if record is None or record.exit is not None or (pid and record.handle.pid != pid):
            return
        record.exit, record.leftovers = seen, leftovers
        self._by_pid.pop(record.handle.pid, None)
        for future in record.waiters:
            if not future.done():
                future.set_result(seen)
        record.waiters.clear()
        self._emit(AdapterEvent(daemon_id=daemon_id, kind=EventKind.EXITED, exit=seen, pid=record.handle.pid, leftovers=leftovers))

    def _on_lost(self) -> None:
        """The warden died: its daemons live on, watched through pidfds; a new warden is started when one is needed."""
        self._hello = None
        self._known = {}
        for number, batch in list(self._batches.items()):
            for daemon_id in batch.by_id:
                batch.results.setdefault(daemon_id, SpawnError("the warden ended during the start", step="fork", remedy="try again"))
            self._batches[number] = batch
            self._finish_if_complete(batch)
        for daemon_id, record in self._records.items():
            if record.exit is None and record.watch is None:
                handle = record.handle
                record.watch = foreign.Watch(handle, lambda seen, d=daemon_id: self._on_exit(d, seen, leftovers=False))  # type: ignore[misc]
            if record.stop is not None and not record.stop.done():
                record.stop.cancel()
                record.stop = None

    def _owner_of(self, pid: int) -> str | None:
        found = self._by_pid.get(pid)
        if found is None:
            stat = read_stat(pid)
            found = self._by_pid.get(stat.session) if stat is not None else None
        return found

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _certificate(self, handle: DaemonHandle, record: Record, timeout: float) -> StopCertificate:
        stop, record.stop = record.stop, None
        if stop is None or not stop.done() or stop.cancelled():
            return StopCertificate(name=handle.name, proven=False, proof=f"the warden did not answer within {timeout + STOP_MARGIN:g} s")
        record.leftovers = False
        return parse.certificate(handle.name, stop.result(), record.exit)


class Batch:
    """A batch of starts under way."""

    __slots__ = ("by_id", "done", "logs", "number", "requests", "results")

    def __init__(self, number: int, requests: Sequence[SpawnRequest]) -> None:
        self.number = number
        self.requests = requests
        self.by_id = {request.daemon_id: request for request in requests}
        self.results: dict[str, DaemonHandle | Exception] = {}
        self.logs: dict[str, str | None] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
