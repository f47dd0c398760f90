"""The state behind the verbs: commands, streams of events, records, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, ClassVar

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    EventSink,
    Ownership,
    Platform,
    SpawnRequest,
)
from duende.adapters.wos import parse, render
from duende.adapters.wos.control import Control
from duende.adapters.wos.identity import kernel_data, kernel_is_gone
from duende.adapters.wos.render import LABEL_ID, Machine
from duende.errors import DuendeError, PlatformTimeoutError
from duende.states import ProcessExit

TIMEOUT = 10.0
"""Seconds for one call of wos-ctl."""
BOOT_TIMEOUT = 40.0
"""Seconds for a kernel to come up; it takes half of one."""
RECONNECT_FIRST = 0.1
RECONNECT_MAX = 2.0
"""Seconds between tries to reach a kernel that went away, at first and at most."""
EARLY_MAX = 1024
"""Daemons of which something was heard before the answer of their start came."""
EARLY_EACH = 4
"""What is kept of each: its latest life has two reports at most."""


class Record:
    """One daemon that was started or adopted here."""

    __slots__ = ("control", "exit", "handle", "ready", "stopping", "waiters", "why")

    def __init__(self, handle: DaemonHandle, control: Control) -> None:
        self.handle = handle
        self.control = control
        self.ready = False
        """It was reported so."""
        self.exit: ProcessExit | None = None
        self.why = ""
        """What the runtime said of its end."""
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.stopping: asyncio.Task[Any] | None = None


class Listener:
    """The stream of events of one kernel."""

    __slots__ = ("connected", "hello", "lock", "task", "wanted")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        self.wanted = asyncio.Event()
        """Somebody waits for it, and not for the next try."""
        self.hello: parse.Hello | None = None
        self.lock = asyncio.Lock()


class Exchange:
    """What the verbs stand on."""

    platform: ClassVar[Platform] = Platform.WOS

    def __init__(
        self,
        command: str = "wos-ctl",
        *,
        home: str | None = None,
        priority: int = 4,
        timeout: float = TIMEOUT,
        boot: bool = True,
        runtime_dir: str | None = None,  # noqa: ARG002 - every adapter of a manager is given these; WOS keeps all by itself
        state_dir: str | None = None,  # noqa: ARG002
        keep: bool = False,
    ) -> None:
        from duende.adapters.wos.priorities import check_priority

        self.priority = check_priority(priority)
        """Of daemons that ask for none."""
        self.timeout = timeout
        self._default = (command, home)
        self._keep = keep
        self._boots = boot
        self._sinks: list[EventSink] = []
        self._records: dict[str, Record] = {}
        self._controls: dict[tuple[str, str], Control] = {}
        self._listeners: dict[tuple[str, str], Listener] = {}
        self._early: dict[str, list[parse.Happened]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def control(self, command: str | None = None, home: str | None = None) -> Control:
        """The command in use, or another one."""
        wanted = (command or self._default[0], home if home is not None else self._default[1] or "")
        if wanted not in self._controls:
            self._controls[wanted] = Control(wanted[0], wanted[1] or None, self.timeout)
        return self._controls[wanted]

    def _control_of(self, handle: DaemonHandle) -> Control:
        return self.control(handle.data.get("command"), handle.data.get("home"))

    def _spawn_task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _record_of(self, handle: DaemonHandle) -> Record | None:
        record = self._records.get(handle.daemon_id)
        same = (
            record is not None
            and record.handle.instance == handle.instance
            and record.handle.boot_id == handle.boot_id
        )
        return record if same else None

    # -- the kernel ----------------------------------------------------------------------------------------------------------

    async def _listen(self, control: Control, *, boot: bool) -> parse.Hello | None:
        """Have the events of its kernel, which is booted if it must be; None where none runs and none is to.

        Raises:
            PlatformError: it does not come up.
        """
        listener = self._listeners.setdefault(control.key, Listener())
        async with listener.lock:
            if not listener.connected.is_set():
                answer = await control.call(["version", "--json"])
                if answer.code != 0:
                    raise parse.error_of(answer.code, answer.err, "ask wos-ctl for its version")
                if not parse.read(answer.out, parse.Hello).boot:
                    if not boot:
                        return None
                    answer = await control.call(["boot", "--json"], BOOT_TIMEOUT)
                    running = b"runs already" in answer.err  # somebody else was quicker
                    if answer.code != 0 and not running:
                        raise parse.error_of(answer.code, answer.err, "boot a WOS kernel")
                if listener.task is None or listener.task.done():
                    listener.task = self._spawn_task(self._stream(control, listener))
                listener.wanted.set()
                try:
                    async with asyncio.timeout(self.timeout):
                        await listener.connected.wait()
                except TimeoutError as error:
                    raise PlatformTimeoutError("have the events of the WOS kernel", self.timeout) from error
            return listener.hello

    async def _stream(self, control: Control, listener: Listener) -> None:
        delay = RECONNECT_FIRST
        while True:
            try:
                hello: parse.Hello | None = None
                async with aclosing(control.lines(["events", "--json"])) as lines:
                    async for line in lines:
                        if hello is None:
                            hello = listener.hello = parse.read(line, parse.Hello)
                            listener.connected.set()
                            delay = RECONNECT_FIRST
                            await self._look_after(control, hello)
                        else:
                            self._on_happening(control, hello, parse.read(line, parse.Happened))
            except (DuendeError, ValueError) as error:
                self._alert(control, f"cannot follow the events of WOS: {error}")
            listener.connected.clear()
            if await self._is_gone(control):
                for record in self._living(control):
                    self._ended(record, None, "the WOS kernel it ran in has ended")
                return
            try:
                async with asyncio.timeout(delay):
                    await listener.wanted.wait()
            except TimeoutError:
                delay = min(delay * 2, RECONNECT_MAX)
            listener.wanted.clear()

    async def _is_gone(self, control: Control) -> bool:
        """Whether no kernel runs any more; one that does not answer may still."""
        try:
            answer = await control.call(["version", "--json"])
            return answer.code == 0 and not parse.read(answer.out, parse.Hello).boot
        except DuendeError as error:
            self._alert(control, f"the WOS kernel does not answer: {error}")
            return False

    def _living(self, control: Control) -> list[Record]:
        return [each for each in self._records.values() if each.control is control and each.exit is None]

    def _alert(self, control: Control, detail: str) -> None:
        for record in self._living(control):
            self._emit(AdapterEvent(daemon_id=record.handle.daemon_id, kind=EventKind.ALERT, detail=detail))

    async def _look_after(self, control: Control, hello: parse.Hello) -> None:
        """The stream is there (again): ends may have been missed."""
        there = {each.pid: each for each in hello.processes}
        for record in self._living(control):
            found = there.get(int(record.handle.instance))
            if hello.halted:
                self._ended(record, None, f"the WOS kernel has halted: {hello.halted[0]}")
            elif record.handle.boot_id != hello.boot:
                self._ended(record, None, "the WOS kernel it ran in has ended")
            elif found is None or found.state == "terminated":
                await self._settle(record)
            elif found.ready:
                self._ready(record)

    async def _settle(self, record: Record) -> None:
        """Find out whether it has ended, and how: what the stream would have told was told to nobody."""
        try:
            found = await self._describe(record.handle)
        except DuendeError:
            self._ended(record, None, "WOS does not know it any more")
            return
        if found.ready:
            self._ready(record)
        if found.state == "terminated":
            self._ended(record, found.exit)

    def _ready(self, record: Record) -> None:
        if not record.ready and record.exit is None:
            record.ready = True
            self._emit(AdapterEvent(daemon_id=record.handle.daemon_id, kind=EventKind.READY))

    # -- events --------------------------------------------------------------------------------------------------------------

    def _on_happening(self, control: Control, hello: parse.Hello, event: parse.Happened) -> None:
        if event.event == "halted":
            for record in self._living(control):
                self._ended(record, None, f"the WOS kernel has halted: {'; '.join(event.violations)}")
            return
        daemon_id = event.labels.get(LABEL_ID)
        if daemon_id is None or event.pid != event.group or event.event not in ("ready", "exited"):
            return  # nobody's, or of a child, which has its labels
        known = self._records.get(daemon_id)
        if known is not None and (known.handle.boot_id, known.handle.instance) == (
            hello.boot,
            str(event.pid),
        ):
            self._take(known, event)
            return
        early = self._early.setdefault(daemon_id, [])  # quicker than the answer of its start
        early.append(event)
        del early[:-EARLY_EACH]
        while len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]

    def _take(self, record: Record, event: parse.Happened) -> None:
        if event.pid != int(record.handle.instance) or record.exit is not None:
            return  # of another life
        if event.event == "ready":
            self._ready(record)
        else:
            fate = parse.Fate(code=event.code, signal=event.signal, why=event.why)
            self._ended(record, fate, leftovers=event.left > 0)

    def _ended(
        self, record: Record, fate: parse.Fate | None, detail: str = "", *, leftovers: bool = False
    ) -> None:
        if record.exit is not None:
            return
        record.exit = parse.process_exit(fate)
        record.why = detail or (fate.why if fate is not None else "")
        for waiter in record.waiters:
            if not waiter.done():
                waiter.set_result(record.exit)
        record.waiters.clear()
        self._emit(
            AdapterEvent(
                daemon_id=record.handle.daemon_id,
                kind=EventKind.EXITED,
                exit=record.exit,
                detail=record.why,
                leftovers=leftovers,
            )
        )

    def _put(self, record: Record) -> None:
        """Know it from now on; what was heard of it before is told now."""
        daemon_id = record.handle.daemon_id
        self._records[daemon_id] = record
        for event in self._early.pop(daemon_id, ()):
            asyncio.get_running_loop().call_soon(self._take, record, event)

    def _handle(
        self, request: SpawnRequest, control: Control, pid: int, boot: str, kernel: int
    ) -> DaemonHandle:
        data = {"command": control.command, "home": control.home or ""}
        if kernel:
            data["kernel"] = kernel_data(kernel)
        return DaemonHandle(
            daemon_id=request.daemon_id,
            name=request.config.name,
            platform=self.platform,
            instance=str(pid),
            boot_id=boot,
            config_hash=request.config_hash,
            data=data,
        )

    # -- identity ------------------------------------------------------------------------------------------------------------

    async def _describe(self, handle: DaemonHandle) -> parse.Described:
        """What WOS says of it.

        Raises:
            InstanceNotFoundError: it does not know it.
            PlatformError: it did not say.
        """
        answer = await self._control_of(handle).call(render.about("status", handle))
        if answer.code != 0:
            raise parse.error_of(answer.code, answer.err, f"look at {handle.name!r}")
        return parse.read(answer.out, parse.Described)

    async def _look(self, handle: DaemonHandle) -> tuple[Ownership, parse.Described | None]:
        """Whose it is, with what WOS says of it."""
        answer = await self._control_of(handle).call(render.about("status", handle))
        if answer.code in (parse.ABSENT, parse.HALTED):
            return Ownership.GONE, None
        if answer.code == parse.NO_KERNEL:
            return (Ownership.GONE if kernel_is_gone(handle) else Ownership.UNVERIFIABLE), None
        if answer.code != 0:
            return Ownership.UNVERIFIABLE, None
        found = parse.read(answer.out, parse.Described)
        if found.labels.get(LABEL_ID) != handle.daemon_id or found.boot != handle.boot_id:
            return Ownership.STRANGER, found
        return (Ownership.GONE if found.state == "terminated" else Ownership.OURS), found

    def _machine(self, hello: parse.Hello | None) -> Machine:
        return hello.machine if hello is not None else Machine()
