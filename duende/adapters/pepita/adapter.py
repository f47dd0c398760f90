"""The pepita adapter: the verbs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

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
from duende.adapters.pepita import parse, stopping
from duende.adapters.pepita.command import Command
from duende.adapters.pepita.exchange import START_TIMEOUT, Exchange, Record
from duende.adapters.pepita.ignored import refuse_ignored
from duende.adapters.pepita.libraries import libraries_of
from duende.adapters.pepita.probe import probe
from duende.adapters.pepita.render import LABEL_ID, arguments, vm_name
from duende.adapters.pepita.settings import settings_of
from duende.config.model import DaemonConfig
from duende.errors import DuendeError, IdentityError, InstanceNotFoundError, StatusFailedError
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit


class PepitaAdapter(Exchange, PlatformAdapter):
    """Daemons in microVMs, one each, with a kernel of their own.

    *command* is the `pepita` program, by name or path; *timeout* the seconds that one call of it may take, a start apart. *runtime_dir* holds
    the sockets over which daemons are asked for their health; it defaults to a private temporary folder. With *keep* VMs go on when this
    process ends, without it they are stopped and removed.

    A daemon runs in its VM as natively but for the network: there is none but loopback. What it shares with the host are the sockets of
    `platform.pepita.forward`, AF_VSOCK (`vsock_base_port`), and the images of `disks`.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(pause=True, logs=True, proof_of_stop=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- verbs ---------------------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """Say whether microVMs can be run here."""
        return await probe(self._command())

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`."""
        from duende.config import normalise

        config = normalise(request.config)
        settings = settings_of(config)
        refuse_ignored(config)
        command = self._command(settings.command)
        await self._listen(command)
        os.makedirs(self.runtime_dir, exist_ok=True)
        socket = f"{self.runtime_dir}/{request.daemon_id[:13]}.sock"
        libraries: tuple[str, ...] = ()
        if settings.copy_binary and config.binary_path is not None:
            libraries = await asyncio.to_thread(libraries_of, config.name, config.binary_path)
        request = SpawnRequest(
            daemon_id=request.daemon_id,
            config=config,
            env=request.env,
            config_hash=request.config_hash,
            import_path=request.import_path,
        )
        name = vm_name(config.name, request.daemon_id)
        earlier = self._records.get(name)
        if earlier is not None and earlier.exit is not None:
            self._records.pop(name)
        words = arguments(request, settings, socket=socket, libraries=libraries)
        try:
            state = await self._run(command, words, config)
        except asyncio.CancelledError:
            self._spawn_task(self._destroy(command, name))  # perhaps it is being started right now
            raise
        data = {"started": str(state["started"]), "vm_pid": str(state["pid"])}
        if command.program != "pepita":
            data["command"] = command.program
        if state.get("cid") is not None:
            data["cid"] = str(state["cid"])
        handle = DaemonHandle(
            daemon_id=request.daemon_id,
            name=config.name,
            platform=self.platform,
            instance=name,
            boot_id=self._boot,
            config_hash=request.config_hash,
            data=data,
        )
        self._put(Record(handle))
        return handle

    async def _run(self, command: Command, words: list[str], config: DaemonConfig) -> dict[str, Any]:
        code, out, err = await command.run(*words, timeout=max(START_TIMEOUT, self.timeout))
        answer = (
            parse.answer_of(out)
            if out.strip()
            else {"error": {"problem": err.strip() or f"pepita ended with {code}"}}
        )
        if code or "error" in answer:
            raise parse.start_error(config.name, answer.get("error", {}), config.binary_path or "python3")
        return dict(answer)

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the main process; STOP and CONT pause and resume the whole VM.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: the VM of that name is not ours.
            PlatformError: pepita did not deliver it.
        """
        await self._living(handle, signal.value)
        await self.send(handle, signal)

    async def send(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send, without a look at whose it is.

        Raises:
            InstanceNotFoundError: it has ended.
            PlatformError: pepita did not deliver it.
        """
        command = self._command_of(handle)
        words = ("signal", "--name", handle.instance, "--signal", signal.value)
        code, _, err = await command.run(*words)
        if code:
            kind = "ended" if "has ended" in err or "there is no VM" in err else ""
            raise parse.error_of(
                {"kind": kind, "problem": err.strip()}, f"send {signal.value} to {handle.name!r}"
            )

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from what pepita says.

        Raises:
            StatusFailedError: it did not say.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            seen = record.exit
            return DaemonStatus(Phase.STOPPED) if seen.ok else DaemonStatus.failed(seen.failure())
        try:
            state = await self._state(handle)
        except InstanceNotFoundError:
            return DaemonStatus(Phase.STOPPED)
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot say how {handle.name!r} is: {error.problem}", remedy=error.remedy
            ) from error
        if record is not None and record.stopping is not None and "exit" not in state:
            return DaemonStatus(Phase.STOPPING)
        return parse.status_of(state)

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and prove that nothing is left; see `PlatformAdapter.stop`."""
        record = self._record_of(handle)
        if record is None:
            found = await self.adopt(handle)
            record = self._record_of(handle)
            if record is None:
                gone = found is Ownership.GONE
                proof = "its VM does not run" if gone else f"its VM is {found.value}: nothing was signalled"
                return StopCertificate(name=handle.name, proven=gone, proof=proof)
        if record.stopping is None:
            record.stopping = asyncio.get_running_loop().create_task(stopping.stop(self, record, timeout))
        try:
            return await asyncio.shield(record.stopping)
        finally:
            if record.stopping is not None and record.stopping.done():
                record.stopping = None

    async def settle(self, record: Record) -> None:
        """Ask how it is, where no event has told."""
        with contextlib.suppress(DuendeError):
            await self._settle(record)

    async def wait_end(self, record: Record, patience: float) -> bool:
        """Whether it has ended within *patience* seconds."""
        return await self._wait_end(record, patience)

    async def end_vm(self, handle: DaemonHandle) -> None:
        """End its VM, whatever the guest does; what is kept of it goes with it.

        Raises:
            PlatformError: pepita did not.
        """
        command = self._command_of(handle)
        code, _, err = await command.run("destroy", "--name", handle.instance, "--force")
        if code and "there is no VM" not in err:
            raise parse.error_of({"problem": err.strip()}, f"end the VM of {handle.name!r}")

    async def wait(self, handle: DaemonHandle) -> ProcessExit:
        """Wait until the daemon has ended and say how."""
        record = self._record_of(handle)
        if record is None:
            await self.adopt(handle)
            record = self._record_of(handle)
        if record is None:
            try:
                return parse.exit_of(await self._state(handle))
            except InstanceNotFoundError:
                return ProcessExit(at=asyncio.get_running_loop().time())
        if record.exit is not None:
            return record.exit
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        record.waiters.append(future)
        return await future

    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Look at a handle again: pepita says whose its VM is, and which start of it."""
        try:
            state = await self._state(handle)
        except InstanceNotFoundError:
            return Ownership.GONE
        except DuendeError:
            return Ownership.UNVERIFIABLE
        if state.get("labels", {}).get(LABEL_ID) != handle.daemon_id:
            return Ownership.STRANGER
        if "exit" in state:
            return Ownership.GONE
        return (
            Ownership.OURS if str(state.get("started")) == handle.data.get("started") else Ownership.STRANGER
        )

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take over a daemon that an earlier process started."""
        record = self._record_of(handle)
        if record is not None and record.exit is None:
            return Ownership.OURS
        try:
            await self._listen(self._command_of(handle))
        except DuendeError:
            return Ownership.UNVERIFIABLE
        found = await self.verify(handle)
        if found is Ownership.OURS:
            record = Record(handle)
            self._put(record)
            await self.settle(record)  # it may have ended between the look and the record
        return found

    async def _living(self, handle: DaemonHandle, what: str) -> Record:
        """The record of a daemon that lives and is ours.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: it is not ours, or nobody can tell.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            raise InstanceNotFoundError(
                f"cannot send {what} to {handle.name!r}: it has ended ({record.exit})"
            )
        if record is not None:
            return record
        found = await self.adopt(handle)
        record = self._record_of(handle)
        if found is Ownership.OURS and record is not None:
            return record
        if found is Ownership.GONE:
            raise InstanceNotFoundError(f"cannot send {what} to {handle.name!r}: its VM does not run")
        raise IdentityError(
            f"cannot send {what} to {handle.name!r}: the VM {handle.instance} is {found.value}",
            remedy="forget the handle",
        )

    async def pause(self, handle: DaemonHandle) -> None:
        """Have the whole VM stand still; status says Paused. Raises as `signal` does."""
        await self.signal(handle, Signal.STOP)

    async def resume(self, handle: DaemonHandle) -> None:
        """Let it go on. Raises as `signal` does."""
        await self.signal(handle, Signal.CONT)

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output."""
        if lines <= 0:
            return []
        code, out, _ = await self._command_of(handle).run(
            "logs", "--name", handle.instance, "--lines", str(lines)
        )
        return out.splitlines() if not code else []

    def watch_log(self, handle: DaemonHandle, pattern: str) -> None:
        """Report LOG_LINE once a line of output matches the regular expression *pattern*."""
        self._spawn_task(self._watch_log(handle, re.compile(pattern)))

    async def _watch_log(self, handle: DaemonHandle, pattern: re.Pattern[str]) -> None:
        words = ("logs", "--name", handle.instance, "--follow")
        async with contextlib.aclosing(self._command_of(handle).lines(*words)) as lines:
            async for line in lines:
                if pattern.search(line):
                    event = AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.LOG_LINE, detail=line)
                    self._emit(event)
                    return

    async def run_inside(self, handle: DaemonHandle, argv: Sequence[str], timeout: float) -> int:
        """Run a program in the daemon's VM; its exit code, -1 when it did not end within *timeout* seconds."""
        words = ("exec", "--name", handle.instance, "--timeout", str(max(1, round(timeout))), "--exec", *argv)
        try:
            code, _, err = await self._command_of(handle).run(*words, timeout=timeout + 2.0)
        except DuendeError:
            return -1
        return -1 if code and err.startswith("pepita:") else code

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what the guest made of each setting; see `PlatformAdapter.explain`.

        Raises:
            InstanceNotFoundError: it has ended.
            StatusFailedError: pepita did not say.
        """
        from duende.adapters.pepita.explain import explain

        await self._living(handle, "a question")
        try:
            what = f"look into the VM of {handle.name!r}"
            info = await self._command_of(handle).facts(what, "info", "--name", handle.instance, "--json")
        except InstanceNotFoundError:
            raise
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot explain {handle.name!r}: {error.problem}", remedy=error.remedy
            ) from error
        return explain(config, info)

    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""
        self._sinks.append(sink)

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Remove what is kept of daemons that have ended."""
        wanted = set(daemon_ids)
        for record in list(self._records.values()):
            if record.handle.daemon_id in wanted and record.exit is not None:
                self._records.pop(record.handle.instance, None)
                self._spawn_task(self._destroy(self._command_of(record.handle), record.handle.instance))

    async def _destroy(self, command: Command, name: str) -> None:
        with contextlib.suppress(DuendeError):
            await command.run("destroy", "--name", name, "--force")

    async def close(self) -> None:
        """Stop and remove what was started unless told to keep it."""
        streams = [task for task, _ in self._streams.values()]
        if not self._keep and self._records:
            records = list(self._records.values())
            await asyncio.gather(*(self.stop(each.handle, 10.0) for each in records if each.exit is None))
            gone = [self._destroy(self._command_of(each.handle), each.handle.instance) for each in records]
            await asyncio.gather(*gone)
        pending = [task for task in self._tasks if task not in streams]
        if pending:
            await asyncio.wait(pending, timeout=self.timeout)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._streams.clear()
        self._records.clear()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)
