"""The WOS adapter: the verbs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextlib import aclosing
from typing import ClassVar, Self

from duende.adapters.contract import (
    AdapterEvent,
    Capabilities,
    DaemonHandle,
    EventKind,
    EventSink,
    Ownership,
    PlatformAdapter,
    Probe,
    SettingReport,
    SpawnRequest,
    StopCertificate,
)
from duende.adapters.wos import parse, render
from duende.adapters.wos.exchange import Exchange, Record
from duende.adapters.wos.identity import kernel_is_gone
from duende.adapters.wos.priorities import check_priority
from duende.adapters.wos.probe import probe_wos
from duende.adapters.wos.settings import settings_of
from duende.adapters.wos.stopping import terminate
from duende.config.model import DaemonConfig
from duende.errors import (
    DuendeError,
    IdentityError,
    InstanceNotFoundError,
    SignalFailedError,
    StatusFailedError,
)
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit

FORGOTTEN_STOP = 10.0
"""Seconds for what is stopped because its adapter is closed."""


class WosAdapter(Exchange, PlatformAdapter):
    """Daemons as processes of a WOS kernel, which is booted when the first one is started.

    *command* is wos-ctl, *home* the folder of the kernel (absent: what the environment says), *priority* that of daemons that ask for none,
    *timeout* the seconds that one call may take, *boot* whether a kernel is booted where none runs.
    With *keep* daemons go on when this process ends, without it they are stopped.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(pause=True, logs=True, proof_of_stop=True)

    @classmethod
    def with_priority(cls, priority: int) -> WosAdapter:
        """One whose daemons have that priority unless they ask for another.

        Raises:
            PlatformConfigError: it is none: 0 is the strongest, 7 the weakest.
        """
        return cls(priority=priority)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- verbs ---------------------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """Say whether WOS can be used here."""
        return await probe_wos(self.control())

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`.

        Raises:
            SpawnError: it is no module, the kernel has halted, or there is none.
            ConfigError: nothing says what to run.
            PlatformConfigError: WOS cannot take the configuration.
        """
        config = render.absolute(request.config)
        control = self.control(settings_of(config).command)
        env_file: dict[str, str] = {}
        if config.env_file is not None:
            from duende.config import read_env_file

            env_file = read_env_file(config.env_file)
        asked = SpawnRequest(
            daemon_id=request.daemon_id, config=config, env=request.env, config_hash=request.config_hash
        )
        render.spawn(
            asked, render.Machine(), self.priority, env_file
        )  # what is wrong with it needs no kernel to be said
        hello = await self._listen(control, boot=self._boots)
        words = render.spawn(asked, self._machine(hello), self.priority, env_file)
        answer = await control.call(words)
        if answer.code != 0:
            self._early.pop(request.daemon_id, None)
            raise parse.spawn_error(config, answer.err)
        made = parse.read(answer.out, parse.Spawned)
        kernel = hello.kernel_pid if hello is not None and hello.boot == made.boot else 0
        handle = self._handle(request, control, made.pid, made.boot, kernel)
        record = Record(handle, control)
        self._put(record)
        if hello is None or hello.boot != made.boot:
            self._spawn_task(self._follow(record))  # another kernel came up meanwhile
        return handle

    async def _follow(self, record: Record) -> None:
        """Have the events of its kernel, and what happened to it before."""
        try:
            await self._listen(record.control, boot=False)
        except DuendeError as error:
            self._emit(
                AdapterEvent(daemon_id=record.handle.daemon_id, kind=EventKind.ALERT, detail=str(error))
            )
        await self._settle(record)

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the process.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: the process is not ours, or nobody can tell.
            SignalFailedError: WOS refused.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            raise InstanceNotFoundError(
                f"cannot send {signal.value} to {handle.name!r}: it has ended ({record.exit})"
            )
        if record is None:
            await self._must_be_ours(handle, signal.value)
        answer = await self._control_of(handle).call(render.send(handle, signal))
        if answer.code == 0:
            return
        error = parse.error_of(answer.code, answer.err, f"send {signal.value} to {handle.name!r}")
        if answer.code in (parse.ABSENT, parse.HALTED) or (
            answer.code == parse.NO_KERNEL and kernel_is_gone(handle)
        ):
            raise InstanceNotFoundError(error.problem, remedy=error.remedy)
        raise SignalFailedError(error.problem, remedy=error.remedy)

    async def _must_be_ours(self, handle: DaemonHandle, what: str) -> None:
        found = await self.verify(handle)
        if found is Ownership.GONE:
            raise InstanceNotFoundError(f"cannot send {what} to {handle.name!r}: it has ended")
        if found is not Ownership.OURS:
            raise IdentityError(
                f"cannot send {what} to {handle.name!r}: WOS process {handle.instance} is {found.value}",
                remedy="forget the handle; the daemon it was for is gone"
                if found is Ownership.STRANGER
                else "see wos-ctl ps",
            )

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from WOS.

        Raises:
            StatusFailedError: it did not say.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            seen = record.exit
            return (
                DaemonStatus(Phase.STOPPED)
                if seen.ok
                else DaemonStatus.failed(parse.failure(seen, record.why))
            )
        if record is not None and record.stopping is not None:
            return DaemonStatus(Phase.STOPPING)
        try:
            owner, found = await self._look(handle)
        except StatusFailedError:
            raise
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot say how {handle.name!r} is: {error.problem}", remedy=error.remedy
            ) from error
        if owner is Ownership.UNVERIFIABLE:
            raise StatusFailedError(
                f"cannot say how {handle.name!r} is: WOS does not say", remedy="see wos-ctl version"
            )
        if found is None or owner is Ownership.STRANGER:
            return DaemonStatus(Phase.STOPPED)
        return parse.status_of(found)

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and all that descends from it, and prove that nothing is left; see `PlatformAdapter.stop`."""
        record = self._record_of(handle)
        if record is None:
            found = await self.verify(handle)
            if found is not Ownership.OURS and found is not Ownership.GONE:
                proof = f"WOS process {handle.instance} is {found.value}: nothing was signalled"
                return StopCertificate(name=handle.name, proof=proof)
            return await terminate(self._control_of(handle), handle, timeout, None)
        if record.stopping is None:
            record.stopping = asyncio.get_running_loop().create_task(self._end(record, timeout))
        try:
            return await asyncio.shield(record.stopping)
        finally:
            if record.stopping is not None and record.stopping.done():
                record.stopping = None

    async def _end(self, record: Record, timeout: float) -> StopCertificate:
        found = await terminate(record.control, record.handle, timeout, record.exit)
        if found.proven:
            seen = found.exit  # the report of it may come a moment later
            fate = parse.Fate(code=seen.code, signal=seen.signal) if seen is not None and seen.known else None
            self._ended(record, fate, "" if fate is not None else found.proof)
        return found

    async def wait(self, handle: DaemonHandle) -> ProcessExit:
        """Wait until the daemon has ended and say how."""
        record = self._record_of(handle)
        if record is None:
            await self.adopt(handle)
            record = self._record_of(handle)
        if record is None:
            try:
                return parse.process_exit((await self._describe(handle)).exit)
            except DuendeError:
                return ProcessExit(at=asyncio.get_running_loop().time())
        if record.exit is not None:
            return record.exit
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        record.waiters.append(future)
        return await future

    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Look at a handle again: kernel, number and label must be its own."""
        try:
            return (await self._look(handle))[0]
        except DuendeError:
            return Ownership.UNVERIFIABLE

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take over a daemon that an earlier process started; the end of one that ended meanwhile is reported at once."""
        if self._record_of(handle) is not None:
            return Ownership.OURS
        control = self._control_of(handle)
        try:
            await self._listen(control, boot=False)
            owner, found = await self._look(handle)
        except DuendeError:
            return Ownership.UNVERIFIABLE
        if found is None or owner not in (Ownership.OURS, Ownership.GONE):
            return owner
        record = Record(handle, control)
        self._put(record)
        if owner is Ownership.GONE:
            asyncio.get_running_loop().call_soon(self._ended, record, found.exit)
        return Ownership.OURS

    async def find(self, request: SpawnRequest) -> DaemonHandle | None:
        """A handle of what runs as the answer to *request*, started by an earlier process; None when nothing does."""
        control = self.control(settings_of(request.config).command)
        hello = await self._listen(control, boot=False)
        if hello is None or request.daemon_id in self._records:
            return None
        answer = await control.call(["ps", "--json"])
        if answer.code != 0:
            return None
        listed = parse.read(answer.out, parse.Listed)
        mine = [each for each in listed.processes if each.labels.get(render.LABEL_ID) == request.daemon_id]
        top = next((each for each in mine if each.pid == each.group), None)
        if top is None:
            return None
        return self._handle(request, control, top.pid, listed.boot, hello.kernel_pid)

    async def pause(self, handle: DaemonHandle) -> None:
        """Have it not run; status says Paused. Raises as `signal` does."""
        await self.signal(handle, Signal.STOP)

    async def resume(self, handle: DaemonHandle) -> None:
        """Let it run on. Raises as `signal` does."""
        await self.signal(handle, Signal.CONT)

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output; none where WOS has forgotten it."""
        words = ["logs", "--pid", handle.instance, "--boot", handle.boot_id, "--lines", str(max(lines, 0))]
        answer = await self._control_of(handle).call(words)
        if answer.code != 0:
            return []
        return [line.decode(errors="replace") for line in answer.out.split(b"\n")[:-1]]

    def watch_log(self, handle: DaemonHandle, pattern: str) -> None:
        """Report LOG_LINE once a line of output matches the regular expression *pattern*."""
        self._spawn_task(self._watch_log(handle, re.compile(pattern)))

    async def _watch_log(self, handle: DaemonHandle, pattern: re.Pattern[str]) -> None:
        words = ["logs", "--follow", "--pid", handle.instance, "--boot", handle.boot_id]
        try:
            async with aclosing(self._control_of(handle).lines(words)) as lines:
                async for line in lines:
                    text = line.decode(errors="replace")
                    if pattern.search(text):
                        self._emit(
                            AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.LOG_LINE, detail=text)
                        )
                        return
        except (DuendeError, ValueError) as error:
            detail = f"cannot follow its output: {error}"
            self._emit(AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.ALERT, detail=detail))

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what WOS made of each setting; see `PlatformAdapter.explain`.

        Raises:
            InstanceNotFoundError: it has ended.
            StatusFailedError: WOS did not say.
        """
        from duende.adapters.wos.explain import explain

        try:
            owner, found = await self._look(handle)
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot explain {handle.name!r}: {error.problem}", remedy=error.remedy
            ) from error
        if found is None or owner is not Ownership.OURS:
            raise InstanceNotFoundError(f"cannot explain {handle.name!r}: it does not run")
        return explain(config, found, self.priority)

    async def list_processes(self) -> list[tuple[int, str]]:
        """Number and name of everything that runs under the kernel, other people's too; nothing where none runs.

        Raises:
            PlatformError: WOS did not say.
        """
        answer = await self.control().call(["ps", "--json"])
        if answer.code == parse.NO_KERNEL:
            return []
        if answer.code != 0:
            raise parse.error_of(answer.code, answer.err, "list the processes of WOS")
        return [(each.pid, each.name) for each in parse.read(answer.out, parse.Listed).processes]

    async def set_priority(self, handle: DaemonHandle, priority: int) -> None:
        """Give a running daemon another priority.

        Raises:
            PlatformConfigError: it is none.
            PlatformError: WOS did not do it.
        """
        words = render.about("renice", handle, "--priority", str(check_priority(priority, handle.name)))
        answer = await self._control_of(handle).call(words)
        if answer.code != 0:
            raise parse.error_of(answer.code, answer.err, f"give {handle.name!r} another priority")

    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""
        self._sinks.append(sink)

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Drop what is kept of daemons that have ended; WOS itself forgets the oldest."""
        for daemon_id in daemon_ids:
            record = self._records.get(daemon_id)
            if record is not None and record.exit is not None:
                del self._records[daemon_id]

    async def close(self) -> None:
        """Stop what was started unless told to keep it, and let go of the kernel, which goes on."""
        if not self._keep:
            living = [each.handle for each in self._records.values() if each.exit is None]
            await asyncio.gather(*(self.stop(each, FORGOTTEN_STOP) for each in living))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listeners.clear()
        self._records.clear()
        self._early.clear()
