"""The launchd adapter: the verbs, in an asyncio loop, each a few calls of launchctl with a deadline."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Iterable
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
from duende.adapters.launchd import parse, processes
from duende.adapters.launchd.parse import Job
from duende.adapters.launchd.probe import probe_launchd
from duende.adapters.launchd.records import NotifySocket, Record
from duende.adapters.launchd.render import notify_path
from duende.adapters.launchd.starting import SWEEPING, Starter
from duende.adapters.launchd.stopping import Stopping, send
from duende.config.model import DaemonConfig
from duende.errors import (
    IdentityError,
    InstanceNotFoundError,
    PlatformError,
    SignalFailedError,
    StatusFailedError,
)
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit

CLOSE_TIMEOUT = 10.0
"""Seconds that daemons have to end when an adapter closes that was not told to keep them."""
SWEEP_PATIENCE = 5.0
"""Seconds that closing waits for what is still to be removed; a launchd that stays dead holds up nobody for longer."""
FORGETTING = "duende launchd forget"
"""Name of tasks that closing waits for."""
LINES_EVERY = 0.05
"""Seconds between looks at a log that is searched for a line."""


class LaunchdAdapter(Starter, PlatformAdapter):
    """Daemons as jobs of launchd.

    *domain* is "system", "gui/UID" or "user/UID"; None takes the system's as root, and otherwise that of the user's session at the screen, or
    the one without a screen where there is none. *plist_dir* has the property lists, by default where launchd itself looks for that domain.
    *launchctl* is the command, or its first words; *timeout* the seconds for each call of it. *runtime_dir* has the sockets for readiness and
    health, *state_dir* the logs; both default to a private temporary folder. With *keep* the daemons go on when this adapter closes, and
    another finds them again by their handles; without it they are stopped.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        pause=True, logs=True, restarts_itself=True, proof_of_stop=True
    )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- verbs ---------------------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """Say whether this launchd can be used."""
        return await probe_launchd(self)

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`."""
        return await self.start_job(request)

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Have launchd send *signal* to the job's process, after it was verified that the job is in the start of this handle.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: the job is not ours, or nobody can tell.
            SignalFailedError: launchd refused.
        """
        what = f"cannot send {signal.value} to {handle.name!r}"
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            raise InstanceNotFoundError(f"{what}: it has ended ({record.exit})")
        # The record knows the present process of a job that launchd has started again.
        found = await self.verify(handle if record is None else record.handle)
        if found is Ownership.GONE:
            raise InstanceNotFoundError(f"{what}: it has ended")
        if found is not Ownership.OURS:
            raise IdentityError(
                f"{what}: the job {handle.instance} is {'of another start' if found is Ownership.STRANGER else 'not verifiable'}",
                remedy="forget the handle; the daemon it was for is gone",
            )
        try:
            sent = await send(record or Record(handle, self._launchctl_of(handle)), signal)
        except SignalFailedError:
            raise
        except PlatformError as error:
            raise SignalFailedError(f"{what}: {error.problem}", remedy=error.remedy) from error
        if not sent:
            raise InstanceNotFoundError(f"{what}: it has just ended")

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from launchd; see `PlatformAdapter.status`.

        Raises:
            StatusFailedError: launchd did not say.
        """
        record = self._record_of(handle)
        if record is not None and record.exit is not None:
            seen = record.exit
            return (
                DaemonStatus.failed(seen.failure())
                if seen.known and not seen.ok
                else DaemonStatus(Phase.STOPPED)
            )
        if record is not None and record.stopping is not None:
            return DaemonStatus(Phase.STOPPING)
        try:
            job = await self.look(handle)
        except InstanceNotFoundError:
            return DaemonStatus(Phase.STOPPED)
        if not self.is_ours(handle, job):
            return DaemonStatus(Phase.STOPPED)
        return parse.status_of(
            job, paused=job.alive and processes.is_stopped(job.pid, processes.born(job.pid))
        )

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and prove that nothing is left; see `PlatformAdapter.stop`."""
        record = self._record_of(handle)
        if record is None:
            found = await self.adopt(handle)
            record = self._record_of(handle)
            if record is None:
                gone = found in (Ownership.GONE, Ownership.STRANGER)
                proof = {
                    Ownership.GONE: f"launchd has no job {handle.instance}",
                    Ownership.STRANGER: f"{handle.instance} is of another start: that of this handle has ended",
                }.get(found, "launchd did not say whether it is the one of this handle")
                return StopCertificate(name=handle.name, proven=gone, proof=proof)
        if record.stopping is None:
            record.stopping = asyncio.get_running_loop().create_task(Stopping(self, record, timeout).run())
        try:
            return await asyncio.shield(record.stopping)
        finally:
            if record.stopping is not None and record.stopping.done():
                record.stopping = None

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
        """Look at a handle again; see `PlatformAdapter.verify`. Of one whose job has ended it says GONE."""
        try:
            found, job = await self._find(handle)
        except StatusFailedError:
            return Ownership.UNVERIFIABLE
        if found is Ownership.OURS and job is not None and not job.alive and job.state not in parse.STARTING:
            return Ownership.GONE
        return found

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take over a job that an earlier process started.

        One that ended meanwhile is ours as well: launchd kept its exit, which is reported at once.
        """
        if self._record_of(handle) is not None:
            return Ownership.OURS
        try:
            found, job = await self._find(handle)
        except StatusFailedError:
            return Ownership.UNVERIFIABLE
        if found is not Ownership.OURS or job is None:
            return found
        record = Record(handle, self._launchctl_of(handle))
        self._records[handle.daemon_id] = record
        if "notify" in handle.data:
            path = notify_path(self.runtime_dir, handle.daemon_id)
            record.notify = NotifySocket(path, handle.daemon_id, self._emit)
        if job.alive:
            self._begin_watch(record, job.pid)
        else:
            asyncio.get_running_loop().call_soon(self._on_end, record)
        return Ownership.OURS

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of its log."""
        from duende.adapters.native.logs import tail

        path = handle.data.get("log")
        return tail(path, lines) if path else []

    def watch_log(self, handle: DaemonHandle, pattern: str) -> None:
        """Report LOG_LINE once a line of this start's output matches the regular expression *pattern*."""
        self._spawn_task(self._watch_log(handle, re.compile(pattern)))

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what launchd made of each setting; see `PlatformAdapter.explain`.

        Raises:
            InstanceNotFoundError: it has ended.
            StatusFailedError: launchd did not say.
        """
        from duende.adapters.launchd.explain import explain

        job = await self.look(handle)
        if not job.alive or not self.is_ours(handle, job):
            raise InstanceNotFoundError(f"cannot explain {handle.name!r}: it does not run")
        return explain(config, job)

    async def pause(self, handle: DaemonHandle) -> None:
        """Stop its main process from running."""
        await self.signal(handle, Signal.STOP)

    async def resume(self, handle: DaemonHandle) -> None:
        """Let it run on."""
        await self.signal(handle, Signal.CONT)

    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""
        self._sinks.append(sink)

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Drop what is kept of daemons that have ended, here and in launchd."""
        for daemon_id in daemon_ids:
            record = self._records.get(daemon_id)
            if record is not None and record.exit is not None:
                self._spawn_task(self._let_go(record)).set_name(FORGETTING)

    async def close(self) -> None:
        """Stop what runs unless told to keep it."""
        records = list(self._records.values())
        if not self._keep:
            await asyncio.gather(*(self._end_for_good(record) for record in records))
        letting_go = [task for task in self._tasks if task.get_name() == FORGETTING]
        await asyncio.gather(*letting_go, return_exceptions=True)
        sweeping = [task for task in self._tasks if task.get_name() == SWEEPING]
        if sweeping:
            await asyncio.wait(sweeping, timeout=SWEEP_PATIENCE)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for record in list(self._records.values()):
            self._drop(record)
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    # -- below the verbs -----------------------------------------------------------------------------------------------------

    async def _find(self, handle: DaemonHandle) -> tuple[Ownership, Job | None]:
        """Whose the job is that has this handle's label, and what launchd says of it; raises `StatusFailedError`."""
        if handle.boot_id and handle.boot_id != self._boot:
            return Ownership.GONE, None
        if not handle.instance or not handle.data.get("domain") or not handle.data.get("token"):
            return Ownership.UNVERIFIABLE, None
        try:
            job = await self.look(handle)
        except InstanceNotFoundError:
            return Ownership.GONE, None
        if not self.is_ours(handle, job):
            return Ownership.STRANGER, job
        same = job.pid == handle.pid and processes.born(job.pid) == handle.start_time
        if job.alive and not same and "delegated" not in handle.data:
            return (
                Ownership.STRANGER,
                job,
            )  # somebody has started it again: that process is not the one of this handle
        return Ownership.OURS, job

    async def _end_for_good(self, record: Record) -> None:
        if not record.unloaded:
            await self.stop(record.handle, CLOSE_TIMEOUT)

    async def _let_go(self, record: Record) -> None:
        try:
            await self.unload(record)
        finally:
            self._drop(record)

    async def _watch_log(self, handle: DaemonHandle, pattern: re.Pattern[str]) -> None:
        record, path = self._record_of(handle), handle.data.get("log")
        if record is None or not path:
            return
        at, rest, last = record.log_from, b"", False
        while True:
            try:
                data = _read_from(path, at)
            except OSError as error:
                detail = f"cannot read its log {path}: {error.strerror}"
                self._emit(AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.ALERT, detail=detail))
                return
            at += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if pattern.search(text):
                    self._emit(AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.LOG_LINE, detail=text))
                    return
            if last:
                return  # there will be no more of it
            last = record.exit is not None
            await asyncio.sleep(LINES_EVERY)


def _read_from(path: str, at: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(at)
        return file.read()
