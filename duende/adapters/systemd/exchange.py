"""The adapter's side of the conversation with systemd: records of units, signals that change them, and what happens when the bus is lost.

Signals keep the records; nothing is polled. After a loss the records are brought up to date by asking once for each.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any, ClassVar

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    EventSink,
    Platform,
    StopCertificate,
)
from duende.adapters.systemd import memory, parse
from duende.adapters.systemd.asking import GONE, Asking
from duende.adapters.systemd.bus import (
    DBUS,
    PROPERTIES,
    SYSTEMD,
    UNIT,
    Bus,
    Refusal,
    address_of,
)
from duende.adapters.systemd.facts import Facts
from duende.adapters.systemd.records import Record
from duende.adapters.used import Used
from duende.errors import DuendeError, PlatformError
from duende.kernel.process import boot_id

RECONNECT_FIRST, RECONNECT_MOST = 0.1, 5.0
"""Seconds between tries to come back to a lost bus, doubled each time: dbus is restarted within one, a machine that goes down never comes back."""
UNLOAD_TIMEOUT = 2.0
"""Seconds for systemd to unload a unit that has ended; it takes milliseconds, unless somebody else refers to it."""
_log = logging.getLogger(__name__)


class Exchange(Asking):
    """State and messages; the verbs are in `SystemdAdapter`."""

    platform: ClassVar[Platform] = Platform.LINUX

    def __init__(
        self,
        *,
        user: bool | None = None,
        bus_address: str | None = None,
        timeout: float = 10.0,
        runtime_dir: str | None = None,
        state_dir: str | None = None,
        keep: bool = False,
        journal: tuple[str, ...] | list[str] = ("journalctl",),
    ) -> None:
        self.user = os.geteuid() != 0 if user is None else user
        self.timeout = timeout
        self.bus = Bus(bus_address or address_of(user=self.user), user=self.user, timeout=timeout)
        self.bus.on_signal = self._on_signal
        self.bus.on_lost = self._on_lost
        self._own_folder: str | None = None
        if runtime_dir is None:
            import tempfile  # brings random, shutil and three compressors: only where it is needed

            self._own_folder = tempfile.mkdtemp(prefix="duende-")
        self.runtime_dir = runtime_dir or str(self._own_folder)
        self.state_dir = state_dir or self.runtime_dir
        self._keep = keep
        self._journal = tuple(journal)
        self._boot = boot_id()
        self._records: dict[str, Record] = {}
        self._used = Used()
        """By daemon id."""
        self._by_path: dict[str, Record] = {}
        self._sinks: list[EventSink] = []
        self._facts: Facts | None = None
        self._jobs: dict[str, asyncio.Future[str]] = {}
        """Result of a job, by its object."""
        self._finished: dict[str, str] = {}
        """Results of jobs that were over before their number was known here."""
        self._starting = 0
        self._reloading = False
        self._doomed: dict[str, Record] = {}
        """By unit: starts that were given up, and may yet come about."""
        self._sweeper: asyncio.Task[None] | None = None
        self._stops: dict[str, asyncio.Task[StopCertificate]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- records -------------------------------------------------------------------------------------------------------------

    def _remember(self, record: Record) -> None:
        self._records[record.daemon_id] = record
        self._by_path[record.path] = record

    def _drop(self, record: Record) -> None:
        if self._records.get(record.daemon_id) is record:
            del self._records[record.daemon_id]
        if self._by_path.get(record.path) is record:
            del self._by_path[record.path]
        record.watch_memory(None)

    async def release(self, record: Record) -> None:
        """Let systemd unload a unit that has ended, and wait until it has: then its name is free. What it told is kept here.

        Raises:
            PlatformError: systemd does not answer.
        """
        if record.removed:
            return
        try:
            if record.state.sub == "exited":
                await self.unit_call(record.path, "Stop", "s", ["replace"])
                await record.until(lambda: record.state.sub != "exited" or record.removed, self.timeout)
            if record.state.sub == "failed":
                await self.unit_call(record.path, "ResetFailed")
            if record.held == self.bus.generation:
                record.held = 0
                await self.unit_call(record.path, "Unref")
        except Refusal as refusal:
            if refusal.short in GONE:
                record.removed = True
                return
            if refusal.short != "NotReferenced":
                raise self.bus.error_of(refusal) from refusal
        await record.until(lambda: record.removed, UNLOAD_TIMEOUT)

    # -- signals -------------------------------------------------------------------------------------------------------------

    def _on_signal(self, message: Any) -> None:
        try:
            self._take(message)
        except PlatformError as error:
            _log.warning("systemd sent what this version cannot read: %s", error)

    def _take(self, message: Any) -> None:
        member, body = message.member, message.body
        if member == "PropertiesChanged":
            record = self._by_path.get(message.path)
            if record is not None and len(body) == 3 and isinstance(body[1], dict):
                parse.update(record.state, body[1])
                # systemd sends the properties of the service first and those of the unit after: then the picture is whole.
                if body[0] == UNIT:
                    self.look(record)
        elif member == "JobRemoved" and len(body) == 4:
            self._on_job(body[1], body[3])
        elif member == "UnitRemoved" and len(body) == 2:
            record = self._by_path.get(body[1])
            if record is not None and not self._reloading:
                self._on_removed(record)
        elif member == "Reloading" and len(body) == 1:
            # systemd drops all its units and makes them again: what it removes meanwhile is not gone.
            self._reloading = bool(body[0])
            if not self._reloading:
                self._spawn(self._catch_up())
        elif (
            member == "NameOwnerChanged"
            and message.interface == DBUS
            and len(body) == 3
            and body[0] == SYSTEMD
            and body[2]
        ):
            self._facts, self._reloading = None, False
            self._spawn(self._again())

    def look(self, record: Record) -> None:
        """Report what the present state of *record* says, and wake who waits for it."""
        for event in list(record.events()):
            if event.kind is EventKind.RESTARTED:
                self._spawn(self._listen_for_memory(record))
            self._emit(event)
        if record.over:
            if record.state.sub == "exited" or record.delegated or record.memory is not None:
                if record.once("end"):
                    self._spawn(self._make_sure(record))
            else:
                # What stop-sigterm and the like still work on is left over.
                self._end(record, leftovers=not record.state.gone)
        record.wake()

    async def _make_sure(self, record: Record) -> None:
        """Look once more at what seems to have ended.

        systemd leaves alone what outlives a clean exit; and on its way to a restart of its own it says `failed` or `dead` for a moment.
        """
        left, ran_out = not record.state.gone, False
        try:
            if record.memory is not None:
                ran_out = await record.memory.ran_out()
            if record.delegated:
                (sub,) = await self.bus.call(record.path, PROPERTIES, "Get", "ss", [UNIT, "SubState"])
                if parse.plain(sub) not in parse.ENDED:
                    record.told.discard(("end", record.state.invocation))
                    return
            if record.state.gone:
                left = bool(await self.processes(record))
        except (PlatformError, Refusal) as error:
            _log.warning("cannot tell what %s left behind: %s", record.unit, error)
        self._end(record, leftovers=left, out_of_memory=ran_out)
        record.wake()

    def _end(self, record: Record, *, leftovers: bool, out_of_memory: bool = False) -> None:
        if record.exit is None:
            seen = parse.process_exit(record.state, time.monotonic(), out_of_memory=out_of_memory)
            if out_of_memory and record.once("oom"):
                detail = "a process of its control group was killed for memory"
                self._emit(
                    AdapterEvent(daemon_id=record.daemon_id, kind=EventKind.OUT_OF_MEMORY, detail=detail)
                )
            self._emit(record.end(seen, leftovers=leftovers))

    async def _listen_for_memory(self, record: Record) -> None:
        """On cgroup v1 the kernel tells of kills for memory, and systemd does not."""
        record.watch_memory(memory.watch(record.unit, await self.host_pid(record)))

    def _on_job(self, job: str, result: str) -> None:
        future = self._jobs.pop(job, None)
        if future is not None and not future.done():
            future.set_result(result)
        elif future is None and self._starting:
            self._finished[job] = result

    def _on_removed(self, record: Record) -> None:
        record.removed = True
        if record.started and record.exit is None:
            # Somebody else stopped it and let it go while nobody here looked: the last state is all there is.
            record.state.main_pid = 0
            self._end(record, leftovers=False)
        record.wake()

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    # -- losing and coming back ----------------------------------------------------------------------------------------------

    def _on_lost(self) -> None:
        self._facts, self._reloading = None, False
        for future in self._jobs.values():
            if not future.done():
                future.set_result("lost")
        self._jobs.clear()
        if any(record.exit is None for record in self._records.values()):
            self._spawn(self._return())

    async def _return(self) -> None:
        delay = RECONNECT_FIRST
        while True:
            try:
                await self.bus.connect()
                await self._catch_up()
                return
            except (DuendeError, Refusal) as error:
                _log.info("systemd is out of reach (%s); trying again in %.1f s", error, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RECONNECT_MOST)

    async def _again(self) -> None:
        """See what was missed: systemd came back under its name. It is asked for signals anew."""
        try:
            await self.bus.announce()
            await self._catch_up()
        except (DuendeError, Refusal) as error:
            _log.info("systemd came back and is out of reach: %s", error)

    async def _catch_up(self) -> None:
        for record in list(self._records.values()):
            if record.exit is not None or not record.started:
                continue
            before = record.state.invocation
            try:
                await self.read(record, None if record.delegated else record.invocation_path)
                await self._hold(record)
            except Refusal as refusal:
                if refusal.short in GONE:
                    self._on_removed(record)
                    continue
                raise
            if record.delegated and record.state.invocation != before:
                record.seen_pid = 0
            self.look(record)

    async def _hold(self, record: Record) -> None:
        """Keep the unit loaded until we let go: a reference ends with the connection that took it, and each must be given back."""
        if record.held == self.bus.generation:
            return
        record.held = self.bus.generation
        try:
            await self.unit_call(record.path, "Ref")
        except Refusal as refusal:
            # Only units' own managers may be told to keep them (polkit); RemainAfterExit keeps it as well.
            _log.debug("cannot keep %s loaded: %s", record.unit, refusal)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("cannot bring units up to date: %s", task.exception())

    def _record_of(self, handle: DaemonHandle) -> Record | None:
        record = self._records.get(handle.daemon_id)
        if (
            record is None
            or record.handle is None
            or record.handle.data.get("invocation") != handle.data.get("invocation")
        ):
            return None
        return record
