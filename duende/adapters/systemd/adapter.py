"""The systemd adapter: the verbs, in an asyncio loop, over one connection to the message bus."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from dbus_fast import Variant

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
    SettingReport,
    SpawnRequest,
    StopCertificate,
)
from duende.adapters.native.ignored import asks_for_bounds
from duende.adapters.systemd import journal, memory, parse
from duende.adapters.systemd.asking import GONE
from duende.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, SERVICE, UNIT, Refusal
from duende.adapters.systemd.cgroup import host_pid
from duende.adapters.systemd.identity import Identity
from duende.adapters.systemd.probe import probe_systemd
from duende.adapters.systemd.records import Record
from duende.adapters.systemd.stopping import Stopping, stop_shared
from duende.config.model import DaemonConfig
from duende.errors import (
    IdentityError,
    InstanceNotFoundError,
    PlatformResourceError,
    SignalFailedError,
    StatusFailedError,
)
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit

CLOSE_TIMEOUT = 10.0
"""Seconds that daemons have to end when an adapter closes that was not told to keep them."""


class SystemdAdapter(Identity, PlatformAdapter):
    """Daemons as transient units of systemd.

    *user* chooses the manager of this user (True) or of the system (False); None takes the system's as root and the user's otherwise.
    *bus_address* is for a bus elsewhere, *timeout* the seconds for each call. *runtime_dir* has the sockets on which `Daemon` classes
    answer for their health; it defaults to a private temporary folder. With *keep* the daemons go on when this adapter closes, and
    another finds them again by their handles; without it they are stopped. *journal* is the program that prints the journal and its
    first words: for a systemd in a container for example ("docker", "exec", ID, "journalctl").
    """

    platform: ClassVar[Platform] = Platform.LINUX
    capabilities: ClassVar[Capabilities] = Capabilities(
        pause=True, logs=True, restarts_itself=True, proof_of_stop=True, trace=True
    )

    async def __aenter__(self) -> Self:
        await self.facts()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- verbs ---------------------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """Say whether this systemd can be used."""
        return await probe_systemd(self.bus)

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`."""
        return await self.start_unit(request)

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the main process; see `PlatformAdapter.signal`.

        The call goes to the object of that very start (its invocation id), so that no other start can ever get it.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: the handle does not say which start it is for.
            SignalFailedError: systemd refused.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            raise InstanceNotFoundError(
                f"cannot send {signal.value} to {handle.name!r}: it has ended ({record.exit})"
            )
        try:
            path = await self._signal_path(handle, record)
            await self.unit_call(path, "Kill", "si", ["main", signal.number("linux")])
        except Refusal as refusal:
            if refusal.short in GONE or refusal.short == "NoSuchProcess":
                raise InstanceNotFoundError(
                    f"cannot send {signal.value} to {handle.name!r}: it has ended (systemd: {refusal.text})"
                ) from refusal
            error = self.bus.error_of(refusal)
            raise SignalFailedError(
                f"cannot send {signal.value} to {handle.name!r}: {error.problem}", remedy=error.remedy
            ) from refusal
        if record is not None and signal in (Signal.STOP, Signal.CONT):
            record.paused = signal is Signal.STOP

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from systemd; see `PlatformAdapter.status`.

        Raises:
            StatusFailedError: systemd did not say.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            return parse.exit_status(record.exit)
        try:
            path = await self._signal_path(handle, record)
            (value,) = await self.bus.call(path, PROPERTIES, "Get", "ss", [UNIT, "SubState"])
        except Refusal as refusal:
            if refusal.short in GONE:
                return DaemonStatus(Phase.STOPPED) if record is None else parse.ended_status(record.state)
            raise StatusFailedError(
                f"cannot ask for {handle.name!r}: {self.bus.error_of(refusal)}"
            ) from refusal
        except InstanceNotFoundError:
            return DaemonStatus(Phase.STOPPED)
        sub = parse.plain(value)
        if not isinstance(sub, str):
            raise StatusFailedError(f"cannot ask for {handle.name!r}: systemd answered {sub!r}")
        state = parse.UnitState(sub=sub, frozen=record is not None and record.state.frozen)
        if state.gone:
            return await self._ended(handle, path)
        return parse.status_of(state, paused=sub == "running" and self._is_paused(handle, record))

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and prove that nothing is left; see `PlatformAdapter.stop`."""
        record = self._record_of(handle)
        if record is None:
            found = await self.adopt(handle)
            record = self._record_of(handle)
            if record is None:
                return StopCertificate(
                    name=handle.name,
                    proven=found is Ownership.GONE or found is Ownership.STRANGER,
                    proof="systemd has no such unit any more"
                    if found is Ownership.GONE
                    else f"{handle.instance} belongs to another start: that of this handle has ended"
                    if found is Ownership.STRANGER
                    else "the handle does not say which start it is for",
                )
        if record.removed:
            return StopCertificate(
                name=handle.name, proven=True, proof="systemd has unloaded the unit", exit=record.exit
            )
        return await stop_shared(self._stops, handle.daemon_id, Stopping(self, record, timeout))

    async def wait(self, handle: DaemonHandle) -> ProcessExit:
        """Wait until the daemon has ended and say how."""
        record = self._record_of(handle)
        if record is None:
            await self.adopt(handle)
            record = self._record_of(handle)
        if record is None:
            return ProcessExit(at=time.monotonic())
        if record.exit is not None:
            return record.exit
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        record.waiters.append(future)
        return await future

    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Look at a handle again; see `PlatformAdapter.verify`."""
        try:
            record = await self._look_up(handle)
        except IdentityError:
            return Ownership.UNVERIFIABLE
        except InstanceNotFoundError:
            return Ownership.GONE
        if record is None:
            return Ownership.STRANGER
        return Ownership.GONE if record.state.ended or record.state.gone else Ownership.OURS

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take over a unit that an earlier process started.

        One that ended meanwhile is ours as well: systemd kept its exit, which is reported at once.

        Raises:
            PlatformError: systemd refused, or did not answer.
        """
        if self._record_of(handle) is not None:
            return Ownership.OURS
        try:
            record = await self._look_up(handle)
        except IdentityError:
            return Ownership.UNVERIFIABLE
        except InstanceNotFoundError:
            return Ownership.GONE
        if record is None:
            return Ownership.STRANGER
        self._remember(record)
        try:
            await self._hold(record)
            await self.read(record)  # whatever changed before the signals were listened for
        except Refusal as refusal:
            self._drop(record)
            if refusal.short in GONE:
                return Ownership.GONE
            raise self.bus.error_of(refusal) from refusal
        record.handle = handle
        record.watch_memory(memory.watch(record.unit, await self.host_pid(record)))
        record.started = True
        record.seen_pid, record.seen_restarts = record.state.main_pid, record.state.restarts
        record.seen_text = record.state.text
        if record.state.sub == "running":
            record.once("ready")
        asyncio.get_running_loop().call_soon(self.look, record)
        return Ownership.OURS

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output of this start, from the journal or from the file of the configuration.

        Of one that has ended its last words are waited for: the journal gets them apart from systemd's report, and may be late.

        Raises:
            PlatformError: the journal cannot be read, or not in time.
            NotSupportedError: there is no journalctl.
        """
        path = handle.data.get("log")
        if path:
            from duende.adapters.native.logs import tail

            return tail(path, lines)
        invocation = handle.data.get("invocation", "")
        record = self._record_of(handle)
        if record is not None and record.exit is None:
            return await journal.read(self._journal, invocation, lines, self.timeout)
        await journal.catch_up(self._journal, self.timeout)
        unit, pid = handle.instance, handle.data.get("main_pid", "")
        return await journal.read(self._journal, invocation, lines, self.timeout, unit=unit, pid=pid)

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what systemd and the kernel made of each setting; see `PlatformAdapter.explain`.

        Raises:
            InstanceNotFoundError: it has ended.
            StatusFailedError: systemd did not say.
        """
        from duende.adapters.systemd.evidence import Evidence
        from duende.adapters.systemd.explain import explain

        record = await self._living_unit(handle, "explain")
        properties: dict[str, Any] = {}
        try:
            for interface in (SERVICE, UNIT):
                (answer,) = await self.bus.call(record.path, PROPERTIES, "GetAll", "s", [interface])
                properties.update({name: parse.plain(value) for name, value in answer.items()})
        except Refusal as refusal:
            raise StatusFailedError(
                f"cannot explain {handle.name!r}: {self.bus.error_of(refusal)}"
            ) from refusal
        pid = host_pid(record.state.group, record.state.main_pid, handle.daemon_id, local=self.bus.local)
        reports = explain(
            config, Evidence(properties=properties, pid=pid, group=record.state.group), await self.facts()
        )
        if asks_for_bounds(config):
            from duende.adapters import bounds

            reports += await asyncio.to_thread(lambda: list(bounds.explain(config)))
        return reports

    async def update_limits(self, handle: DaemonHandle, config: DaemonConfig, before: DaemonConfig) -> None:
        """Put the limits of *config* in force for a unit that runs, until it ends; see `SupportsLimits`.

        Raises:
            InstanceNotFoundError: it has ended.
            PlatformResourceError: systemd refuses, or a limit cannot be enforced here.
        """
        from duende.adapters.systemd.ignored import refuse_ignored
        from duende.adapters.systemd.live import changeable

        record = await self._living_unit(handle, "limit")
        facts = await self.facts()
        refuse_ignored(config, facts)
        body = [[name, Variant(kind, value)] for name, kind, value in changeable(config, before, facts)]
        try:
            await self.bus.call(
                MANAGER_PATH, MANAGER, "SetUnitProperties", "sba(sv)", [record.unit, True, body]
            )
        except Refusal as refusal:
            raise PlatformResourceError(
                f"cannot limit {handle.name!r}: {self.bus.error_of(refusal)}"
            ) from refusal
        if asks_for_bounds(config) or asks_for_bounds(before):
            await self._bound(config, before)

    async def usage(self, handle: DaemonHandle, config: DaemonConfig) -> dict[str, float]:
        """What systemd counted for it; see `SupportsLimits`.

        Raises:
            InstanceNotFoundError: it has ended.
        """
        from duende.adapters.systemd.live import usage_of

        del config  # systemd counts the same whatever is limited
        record = await self._living_unit(handle, "look at")
        try:
            (answer,) = await self.bus.call(record.path, PROPERTIES, "GetAll", "s", [SERVICE])
        except Refusal as refusal:
            raise StatusFailedError(
                f"cannot look at {handle.name!r}: {self.bus.error_of(refusal)}"
            ) from refusal
        now = usage_of({name: parse.plain(value) for name, value in answer.items()})
        return self._used.told(handle, now)

    async def _living_unit(self, handle: DaemonHandle, what: str) -> Record:
        record = await self._look_up(handle)
        if record is None or record.state.ended or record.state.gone:
            raise InstanceNotFoundError(f"cannot {what} {handle.name!r}: it does not run")
        return record

    async def pause(self, handle: DaemonHandle) -> None:
        """Stop its main process from running."""
        await self.signal(handle, Signal.STOP)

    async def resume(self, handle: DaemonHandle) -> None:
        """Let it run on."""
        await self.signal(handle, Signal.CONT)

    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""
        self._sinks.append(sink)

    def watch_log(self, handle: DaemonHandle, pattern: str) -> None:
        """Report LOG_LINE once a line of output in the journal matches the regular expression *pattern*."""
        wanted = re.compile(pattern)

        def line(text: str) -> bool:
            if wanted.search(text):
                self._emit(AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.LOG_LINE, detail=text))
                return True
            return False

        invocation = handle.data.get("invocation", "")
        self._spawn(journal.follow(self._journal, invocation, line))

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Drop what is kept of daemons that have ended, here and in systemd."""
        for daemon_id in daemon_ids:
            record = self._records.get(daemon_id)
            if record is not None and record.exit is not None:
                self._used.forget(daemon_id)
                self._spawn(self._let_go(record))

    async def close(self) -> None:
        """Stop what runs unless told to keep it, and leave the bus."""
        if not self._keep and self._records:
            await asyncio.gather(*(self._end_for_good(record) for record in list(self._records.values())))
        await self._ended_sweeping()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.bus.close()
        for record in self._records.values():
            record.watch_memory(None)
        self._records.clear()
        self._by_path.clear()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    # -- below the verbs -----------------------------------------------------------------------------------------------------

    async def _end_for_good(self, record: Record) -> None:
        if record.handle is not None and not record.removed:
            await self.stop(record.handle, CLOSE_TIMEOUT)

    async def _let_go(self, record: Record) -> None:
        try:
            await self.release(record)
        finally:
            self._drop(record)
