"""The adapter's side of the conversation with its warden: batches, records, exits, and what happens when the warden dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    EventSink,
    Platform,
    SpawnRequest,
    StopCertificate,
)
from duende.adapters.native import foreign, parse
from duende.adapters.native.ignored import asks_for_bounds
from duende.adapters.native.link import Link, open_link
from duende.adapters.native.logs import prepare
from duende.adapters.native.notify import NotifySocket
from duende.adapters.native.records import DRAIN_TIMEOUT, SPAWN_TIMEOUT, STOP_MARGIN, Batch, Record
from duende.adapters.native.render import Launch, Renderer
from duende.adapters.native.warden import word
from duende.config.model import DaemonConfig, ReadinessKind, readiness_of
from duende.errors import DuendeError, PlatformIOError, PlatformTimeoutError, SpawnError
from duende.kernel.process import boot_id, read_stat, start_time
from duende.states import ProcessExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.adapters.bounds import Usage
    from duende.adapters.native.groups import Groups


class Exchange:
    """State and messages; the verbs are in `NativeAdapter`."""

    platform: ClassVar[Platform] = Platform.NATIVE

    def __init__(
        self,
        *,
        runtime_dir: str | None = None,
        state_dir: str | None = None,
        keep: bool = False,
        link: Link | None = None,
    ) -> None:
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
        self._unclaimed: dict[str, tuple[int, ProcessExit, bool]] = {}
        """Ends of daemons that an earlier manager started, until they are adopted: main process, how it ended, whether something is left."""
        self._sinks: list[EventSink] = []
        self._batches: dict[int, Batch] = {}
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._expected: dict[str, tuple[str, str | None]] = {}
        """Pattern of readiness that is looked for since before the start, and the line that was found, until somebody asks."""
        self._serial = 0
        self._boot = boot_id()
        self._silent = {"runtime": self.runtime_dir}
        """The data of every handle whose output is not captured."""
        self._notify: NotifySocket | None = None
        self.renderer = Renderer(self.runtime_dir, self.state_dir, dict(os.environ))
        self._groups: Groups | None = None
        self._bounds: Usage | None = None

    @property
    def groups(self) -> Groups:
        """Control groups of daemons that asked for limits; made on first use, as most ask for none."""
        if self._groups is None:
            from duende.adapters.native.groups import Groups

            self._groups = Groups(self.runtime_dir, self._emit)
        return self._groups

    async def _bound(self, requests: Sequence[SpawnRequest]) -> dict[str, Exception]:
        """Set the limits of folders and network namespaces ahead of a start; the errors of those that cannot be limited."""
        refused: dict[str, Exception] = {}
        for request in requests:
            if asks_for_bounds(request.config):
                from duende.adapters import bounds

                try:
                    await asyncio.to_thread(bounds.apply, request.config)
                except DuendeError as error:
                    refused[request.daemon_id] = error
        return refused

    async def _bounds_used(self, handle: DaemonHandle, config: DaemonConfig) -> dict[str, float]:
        if not asks_for_bounds(config):
            return {}
        if self._bounds is None:
            from duende.adapters.bounds import Usage

            self._bounds = Usage()
        return await asyncio.to_thread(self._bounds.of, handle.daemon_id, config)

    async def _ready_link(self) -> Link:
        try:
            return await self._greeted_link()
        except PlatformIOError:  # a warden that was just leaving when we came: the next one is ours
            return await self._greeted_link()

    async def _greeted_link(self) -> Link:
        if self._link is None or self._link.closed or self._hello is None:
            self._connect(asyncio.get_running_loop())
        if self._link is None or self._hello is None:
            raise PlatformIOError("the warden has gone")
        if not self._hello.done():
            try:
                async with asyncio.timeout(SPAWN_TIMEOUT):
                    await asyncio.shield(self._hello)
            except TimeoutError:
                raise PlatformTimeoutError("reach the warden", SPAWN_TIMEOUT) from None
        return self._link

    def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            os.makedirs(self.runtime_dir, mode=0o711, exist_ok=True)
        except OSError as error:
            raise PlatformIOError(
                f"cannot use {self.runtime_dir}: {error.strerror}", remedy="choose another runtime folder"
            ) from error
        if self._link is None or self._link.closed:
            self._link = open_link(self.runtime_dir, keep=self._keep)
        self._hello = loop.create_future()
        if self._notify is None:
            self._notify = NotifySocket(self.renderer.notify_path, self._owner_of, self._emit)
            self._notify.attach(loop)
        self._link.attach(loop, self._on_message, self._on_lost)

    def _grouped(
        self, batch: Batch, requests: Sequence[SpawnRequest], link: Link
    ) -> list[tuple[str, Any, Any, list[Any]]]:
        groups: dict[tuple[Any, ...], tuple[str, Any, Any, list[Any]]] = {}
        for request in requests:
            daemon_id = request.daemon_id
            try:
                launch = self.renderer.render(request)
                if "grouped" in launch.settings:
                    launch.item = (*launch.item, self.groups.prepare(request))
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

    async def _expect(self, link: Link, requests: Sequence[SpawnRequest]) -> None:
        """Have the lines that make daemons ready looked for from their first line on: one that comes before anybody asks would never be found.

        Waits until the keeper has heard of it, and has read what the run before left in the pipe, which is not meant.
        """
        told: list[asyncio.Task[Any]] = []
        for request in requests:
            if readiness_of(request.config) is not ReadinessKind.LOG_LINE:
                continue
            try:
                launch = self.renderer.render(request)
                self._prepare_log(launch, link)
            except Exception:  # noqa: BLE001, S112  (the batch will meet it again, and answers for it)
                continue
            if launch.log is not None:
                pattern = request.config.readiness.pattern or ""
                link.send("log", "expect", request.daemon_id, pattern)
                self._expected[request.daemon_id] = (pattern, None)
                asking = self._ask(link, "drain", request.daemon_id, DRAIN_TIMEOUT)
                told.append(asyncio.get_running_loop().create_task(asking))
        if told:
            await asyncio.gather(
                *told, return_exceptions=True
            )  # a disk that hangs keeps nobody from starting

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
            async with asyncio.timeout(timeout):
                return await future
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
            elif record is None and self._link is not None:
                self._link.send("forget", [message[2]])  # it was started too late for whoever asked
        elif verb in ("signalled", "drained"):
            future = self._requests.get(message[1])
            if future is not None and not future.done():
                future.set_result(message[2] if verb == "signalled" else None)
        elif verb == "line":
            if (expected := self._expected.get(message[1])) is not None:
                self._expected[message[1]] = (expected[0], message[2])  # nobody has asked yet
            else:
                self._emit(AdapterEvent(daemon_id=message[1], kind=EventKind.LOG_LINE, detail=message[2]))
        elif verb == "lost":
            detail = f"{message[2]} bytes of output lost: {message[3]}"
            self._emit(AdapterEvent(daemon_id=message[1], kind=EventKind.LOG_LOST, detail=detail))
        elif verb == "hello":
            self._warden_pid = message[1]
            self._known = message[3]
            earlier = word.take(self.runtime_dir) if self._keep else []
            for entry in (*earlier, *message[4]):
                self._on_exit(entry[0], parse.process_exit(entry), leftovers=bool(entry[6]), pid=entry[1])
            if self._hello is not None and not self._hello.done():
                self._hello.set_result(None)

    def _on_spawned(self, number: int, report: list[tuple[Any, ...]]) -> None:
        batch = self._batches.get(number)
        if batch is None:
            return
        for entry in report:
            request, pid = batch.by_id[entry[0]], entry[1]
            daemon_id = request.daemon_id  # one text for all who know it
            if not pid:
                batch.results[daemon_id] = parse.spawn_error(request.config.name, entry)
                self._expected.pop(daemon_id, None)
                if self._groups is not None:
                    self._groups.discard(daemon_id)
                continue
            if batch.late and self._link is not None:
                self._link.send("stop", 0, [(daemon_id, 0.0)])
                batch.results[daemon_id] = PlatformTimeoutError("start a daemon", SPAWN_TIMEOUT)
                continue
            log = batch.logs.get(daemon_id)
            handle = self._handle(request, pid, log)
            self._records[daemon_id] = Record(handle, log)
            self._by_pid[pid] = daemon_id
            batch.results[daemon_id] = handle
        self._finish_if_complete(batch)
        if self._notify is not None:
            self._notify.retry(
                last=not self._batches
            )  # a preloaded daemon can be ready before its start is reported

    def _handle(self, request: SpawnRequest, pid: int, log: str | None) -> DaemonHandle:
        return DaemonHandle(
            daemon_id=request.daemon_id,
            name=request.config.name,
            platform=self.platform,
            instance=f"pid{pid}",
            pid=pid,
            start_time=start_time(pid),
            boot_id=self._boot,
            config_hash=request.config_hash,
            data=self._data(request.daemon_id, log),
        )

    def _data(self, daemon_id: str, log: str | None) -> dict[str, str]:
        data = {"log": log, "runtime": self.runtime_dir} if log else self._silent
        if self._groups is not None and self._groups.of(daemon_id):
            data = {**data, "grouped": "yes"}  # for whoever adopts it
        return data

    def _finish_if_complete(self, batch: Batch) -> None:
        if len(batch.results) == len(batch.by_id) and not batch.done.done():
            self._batches.pop(batch.number, None)
            batch.done.set_result(None)

    def _on_exit(self, daemon_id: str, seen: ProcessExit, *, leftovers: bool, pid: int = 0) -> None:
        self._known.pop(pid, None)  # the number may be a stranger's from now on
        record = self._records.get(daemon_id)
        if record is None:
            self._unclaimed[daemon_id] = (pid, seen, leftovers)
            return
        if record.exit is not None or (pid and record.handle.pid != pid):
            return
        record.exit, record.leftovers = seen, leftovers
        self._by_pid.pop(record.handle.pid, None)
        for future in record.waiters:
            if not future.done():
                future.set_result(seen)
        record.waiters.clear()
        self._emit(
            AdapterEvent(
                daemon_id=daemon_id,
                kind=EventKind.EXITED,
                exit=seen,
                pid=record.handle.pid,
                leftovers=leftovers,
            )
        )

    def _on_lost(self) -> None:
        """The warden died: its daemons live on, watched through pidfds; a new warden is started when one is needed."""
        hello, self._hello = self._hello, None
        if hello is not None and not hello.done():
            hello.set_exception(
                PlatformIOError(
                    f"the warden in {self.runtime_dir} turned us away: another adapter has it, or it ended",
                    remedy="use another runtime folder, or close the other adapter",
                )
            )
        self._known = {}
        for number, batch in list(self._batches.items()):
            for daemon_id in batch.by_id:
                batch.results.setdefault(
                    daemon_id,
                    SpawnError("the warden ended during the start", step="fork", remedy="try again"),
                )
            self._batches[number] = batch
            self._finish_if_complete(batch)
        for daemon_id, record in self._records.items():
            if record.exit is None and record.watch is None:
                handle = record.handle
                record.watch = foreign.Watch(handle, self._ender_of(daemon_id))
            if record.stop is not None and not record.stop.done():
                record.stop.cancel()
                record.stop = None

    def _ender_of(self, daemon_id: str) -> Callable[[ProcessExit], None]:
        return lambda seen: self._on_exit(daemon_id, seen, leftovers=False)

    def _owner_of(self, pid: int) -> str | None:
        found = self._by_pid.get(pid)
        if found is None:
            stat = read_stat(pid)
            found = self._by_pid.get(stat.session) if stat is not None else None
        return found

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _certificate(
        self, handle: DaemonHandle, record: Record, stop: asyncio.Future[tuple[Any, ...]], timeout: float
    ) -> StopCertificate:
        if record.stop is stop:  # another caller may have asked for the same stop
            record.stop = None
        if not stop.done() or stop.cancelled():
            return StopCertificate(
                name=handle.name,
                proven=False,
                proof=f"the warden did not answer within {timeout + STOP_MARGIN:g} s",
            )
        record.leftovers = False
        return parse.certificate(handle.name, stop.result(), record.exit)

    async def _with_group(self, handle: DaemonHandle, found: StopCertificate) -> StopCertificate:
        """Add what the daemon's control group proves, which no process can leave by itself."""
        proof = await self.groups.empty(handle.daemon_id) if found.proven else ""
        if not proof:
            return found
        return msgspec.structs.replace(
            found, proof=f"{found.proof}; {proof}", proven=not proof.startswith("processes")
        )
