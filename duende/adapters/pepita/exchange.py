"""The adapter's state: the stream of events of all VMs, and how an end becomes an exit."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import Any, ClassVar

import msgspec

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    EventSink,
    Platform,
    StopCertificate,
)
from duende.adapters.pepita import parse
from duende.adapters.pepita.command import Command
from duende.adapters.pepita.render import LABEL_ID
from duende.errors import DuendeError, InstanceNotFoundError, PlatformTimeoutError
from duende.kernel.process import boot_id
from duende.states import ProcessExit

TIMEOUT = 20.0
"""Seconds for one call of pepita."""
START_TIMEOUT = 120.0
"""Seconds for a start: the first one of a kernel, root and size boots a guest for its snapshot."""
RECONNECT = 0.5
"""Seconds before the stream of events is opened again."""
EARLY_MAX = 1000
"""Events kept of VMs whose start has not been answered yet."""


class Record:
    """One daemon that was started or adopted here."""

    __slots__ = ("exit", "handle", "proof", "stopping", "waiters")

    def __init__(self, handle: DaemonHandle) -> None:
        self.handle = handle
        self.exit: ProcessExit | None = None
        self.proof = ""
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.stopping: asyncio.Task[StopCertificate] | None = None


class Exchange:
    """State and events; the verbs are in `PepitaAdapter`."""

    platform: ClassVar[Platform] = Platform.PEPITA

    def __init__(
        self,
        *,
        command: str = "pepita",
        timeout: float = TIMEOUT,
        runtime_dir: str | None = None,
        state_dir: str | None = None,
        keep: bool = False,
    ) -> None:
        self._own_folder: str | None = None
        if runtime_dir is None:
            import tempfile

            self._own_folder = tempfile.mkdtemp(prefix="duende-")
        self.runtime_dir = os.path.abspath(runtime_dir or str(self._own_folder))
        self.state_dir = os.path.abspath(state_dir or self.runtime_dir)
        self.timeout = timeout
        self._program = command
        self._commands: dict[str, Command] = {}
        self._keep = keep
        self._records: dict[str, Record] = {}
        """By name of the VM."""
        self._early: list[dict[str, Any]] = []
        self._sinks: list[EventSink] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._streams: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._boot = boot_id()

    def _command(self, program: str = "") -> Command:
        name = program if program and program != "pepita" else self._program
        if name not in self._commands:
            self._commands[name] = Command(name, self.timeout)
        return self._commands[name]

    def _command_of(self, handle: DaemonHandle) -> Command:
        return self._command(handle.data.get("command", ""))

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _spawn_task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- the stream ----------------------------------------------------------------------------------------------------------

    async def _listen(self, command: Command) -> None:
        """Have the stream of events open.

        Raises:
            PlatformTimeoutError: pepita does not open it.
        """
        command.path()
        if command.program not in self._streams:
            watching = asyncio.Event()
            self._streams[command.program] = (self._spawn_task(self._follow(command, watching)), watching)
        try:
            async with asyncio.timeout(self.timeout):
                await self._streams[command.program][1].wait()
        except TimeoutError:
            raise PlatformTimeoutError("open the stream of pepita's events", self.timeout) from None

    async def _follow(self, command: Command, watching: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(DuendeError, msgspec.DecodeError):
                async with contextlib.aclosing(command.lines("events")) as lines:
                    async for line in lines:
                        event = msgspec.json.decode(line)
                        if event.get("event") == "watching":
                            watching.set()
                            await self._look_again(command)
                        else:
                            self._take(event)
            await asyncio.sleep(RECONNECT)

    async def _look_again(self, command: Command) -> None:
        """What has ended while nobody listened is found by asking."""
        for record in list(self._records.values()):
            if record.exit is None and self._command_of(record.handle) is command:
                with contextlib.suppress(DuendeError):
                    await self._settle(record)

    def _take(self, event: dict[str, Any]) -> None:
        labels = event.get("labels") or {}
        record = self._records.get(str(event.get("name")))
        if record is None:
            self._early.append(event)
            del self._early[:-EARLY_MAX]
            return
        if labels.get(LABEL_ID) != record.handle.daemon_id:
            return  # somebody else's VM of the same name
        daemon_id, what = record.handle.daemon_id, event.get("event")
        if what == "notify":
            for kind, value in parse.notices_of(str(event.get("text", ""))):
                self._emit(AdapterEvent(daemon_id=daemon_id, kind=kind, detail=value))
        elif what == "oom":
            detail = f"the guest's control group says {event.get('text')}"
            self._emit(AdapterEvent(daemon_id=daemon_id, kind=EventKind.OUT_OF_MEMORY, detail=detail))
        elif what == "alert":
            self._emit(AdapterEvent(daemon_id=daemon_id, kind=EventKind.ALERT, detail=str(event.get("text"))))
        elif what == "exited":
            self._ended(record, event)

    def _put(self, record: Record) -> None:
        """Know a daemon from now on; what was said of it meanwhile is taken."""
        name = record.handle.instance
        self._records[name] = record
        early = [each for each in self._early if each.get("name") == name]
        self._early = [each for each in self._early if each.get("name") != name]
        for event in early:
            self._take(event)

    def _ended(self, record: Record, state: dict[str, Any]) -> None:
        if record.exit is not None:
            return
        record.exit = parse.exit_of(state)
        record.proof = str(state.get("proof", ""))
        waiters, record.waiters = record.waiters, []
        for future in waiters:
            if not future.done():
                future.set_result(record.exit)
        why = str((state.get("exit") or {}).get("why", ""))
        event = AdapterEvent(
            daemon_id=record.handle.daemon_id, kind=EventKind.EXITED, exit=record.exit, detail=why
        )
        self._emit(event)

    async def _state(self, handle: DaemonHandle) -> dict[str, Any]:
        """What pepita has written down of the handle's VM.

        Raises:
            InstanceNotFoundError: it knows none of that name.
        """
        command = self._command_of(handle)
        what = f"ask for the status of {handle.name!r}"
        return dict(await command.facts(what, "status", "--name", handle.instance, "--json"))

    async def _settle(self, record: Record) -> None:
        """Ask how it is, and tell an end that no event has told."""
        try:
            state = await self._state(record.handle)
        except InstanceNotFoundError:
            state = {"exit": {"why": "its VM was destroyed"}, "proof": "pepita knows no such VM any more"}
        if "exit" in state:
            self._ended(record, state)

    def _record_of(self, handle: DaemonHandle) -> Record | None:
        record = self._records.get(handle.instance)
        return record if record is not None and record.handle.daemon_id == handle.daemon_id else None

    async def _wait_end(self, record: Record, patience: float) -> bool:
        """Whether it has ended within *patience* seconds."""
        if record.exit is not None:
            return True
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        record.waiters.append(future)
        try:
            async with asyncio.timeout(patience):
                await future
        except TimeoutError:
            return record.exit is not None
        finally:
            if future in record.waiters:
                record.waiters.remove(future)
        return True
