"""The adapter's state: jobs, and how the end of a process becomes an exit.

The kernel says when a process has ended, launchd how: `launchctl print` keeps the exit of the last run for as long as the job is loaded.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

import msgspec

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, EventSink, Platform
from duende.adapters.launchd import parse, processes
from duende.adapters.launchd.launchctl import DEFAULT, Launchctl, refusal
from duende.adapters.launchd.parse import Job, Trouble
from duende.adapters.launchd.records import Record, target_of
from duende.adapters.launchd.render import TOKEN
from duende.adapters.launchd.watch import ExitWatch
from duende.errors import DuendeError, InstanceNotFoundError, StatusFailedError
from duende.states import ProcessExit

TIMEOUT = 10.0
"""Seconds for one launchctl; it takes milliseconds."""
SETTLE_EVERY = 0.02
"""Seconds between looks at a process that the kernel calls dead and launchd has not reaped yet."""
SETTLE = 5.0
"""Seconds that launchd gets to say how a dead process ended; it takes milliseconds."""
RESPAWN_EVERY = 0.25
"""Seconds between looks at a job that launchd will start again; it announces nothing, and waits for at least a second."""
UNLOAD_EVERY = 0.02
_UNREACHABLE = "launchd did not say how"


class Exchange:
    """State; the verbs are in `LaunchdAdapter`."""

    platform: ClassVar[Platform] = Platform.MACOS

    def __init__(
        self,
        *,
        domain: str | None = None,
        plist_dir: str | None = None,
        launchctl: str | tuple[str, ...] | list[str] = DEFAULT,
        timeout: float = TIMEOUT,
        runtime_dir: str | None = None,
        state_dir: str | None = None,
        keep: bool = False,
    ) -> None:
        self._own_folder: str | None = None
        if runtime_dir is None:
            import tempfile  # brings random, shutil and three compressors: only where it is needed

            self._own_folder = tempfile.mkdtemp(prefix="duende-")
        self.runtime_dir = os.path.abspath(runtime_dir or str(self._own_folder))
        self.state_dir = os.path.abspath(state_dir or self.runtime_dir)
        self.timeout = timeout
        self.launchctl = Launchctl((launchctl,) if isinstance(launchctl, str) else tuple(launchctl), timeout)
        self._domain = domain
        self._plist_dir = plist_dir
        self._keep = keep
        self._boot = processes.this_boot()
        self._records: dict[str, Record] = {}
        """By daemon id."""
        self._sinks: list[EventSink] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- where ---------------------------------------------------------------------------------------------------------------

    async def domain(self) -> str:
        """The domain of jobs: the system's as root; of a user the one of the session at the screen, or else the one without a screen.

        Raises:
            PlatformError: launchctl cannot be asked.
        """
        if self._domain is None:
            uid = os.geteuid()
            if uid == 0:
                self._domain = "system"
            else:
                there = await self.launchctl.run("print", f"gui/{uid}")
                self._domain = f"gui/{uid}" if there.ok else f"user/{uid}"
        return self._domain

    def plist_dir(self, domain: str) -> str:
        """The folder of property lists: the one that launchd itself looks into for that domain, unless another was asked for."""
        if self._plist_dir is not None:
            return self._plist_dir
        if domain == "system":
            return "/Library/LaunchDaemons"
        return os.path.expanduser("~/Library/LaunchAgents")

    def _launchctl_of(self, handle: DaemonHandle) -> Launchctl:
        words = handle.data.get("command")
        if not words:
            return self.launchctl
        return Launchctl(tuple(msgspec.json.decode(words, type=list[str])), self.timeout)

    # -- asking --------------------------------------------------------------------------------------------------------------

    async def look(self, handle: DaemonHandle) -> Job:
        """What launchd says of the job of *handle*, whichever start it is in.

        Raises:
            InstanceNotFoundError: launchd has no such job (any more).
            StatusFailedError: launchd did not say.
        """
        try:
            answer = await self._launchctl_of(handle).run("print", target_of(handle))
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot ask for {handle.name!r}: {error.problem}", remedy=error.remedy
            ) from error
        if answer.ok:
            return parse.parse_job(answer.out)
        if answer.trouble is Trouble.NO_SERVICE:
            raise InstanceNotFoundError(f"{handle.name!r} has ended: launchd has no job {target_of(handle)}")
        refused = refusal(f"ask for {handle.name!r}", answer)
        raise StatusFailedError(refused.problem, remedy=refused.remedy)

    def is_ours(self, handle: DaemonHandle, job: Job) -> bool:
        """Whether the job is in the very start that *handle* is for: its token is in the environment that launchd prints."""
        token = handle.data.get("token", "")
        return bool(token) and f"\t\t{TOKEN} => {token}" in job.lines

    def _record_of(self, handle: DaemonHandle) -> Record | None:
        record = self._records.get(handle.daemon_id)
        mine = record is not None and (record.handle.data.get("token"), record.handle.instance) == (
            handle.data.get("token"),
            handle.instance,
        )
        return record if mine else None

    # -- ends ----------------------------------------------------------------------------------------------------------------

    def _begin_watch(self, record: Record, pid: int) -> None:
        """Be told of the end of *pid* from now on, and note in the handle who it is."""
        since = processes.born(pid)
        record.handle = msgspec.structs.replace(record.handle, pid=pid, start_time=since)
        if record.watch is not None:
            record.watch.close()
        record.watch = ExitWatch(pid, since, lambda: self._on_end(record))

    def _on_end(self, record: Record) -> None:
        if record.exit is None:
            self._spawn_task(self._settle(record))

    async def _settle(self, record: Record) -> None:
        """A process has ended: have launchd say how, or that it has started another."""
        deadline = time.monotonic() + SETTLE
        while record.exit is None:
            patience = SETTLE_EVERY
            try:
                job = await self.look(record.handle)
            except InstanceNotFoundError:
                self._ended(record, ProcessExit(at=time.monotonic()), "its job was unloaded")
                return
            except StatusFailedError as error:
                if time.monotonic() > deadline:
                    self._ended(record, ProcessExit(at=time.monotonic()), f"{_UNREACHABLE}: {error}")
                    return
                await asyncio.sleep(patience)
                continue
            if not self.is_ours(record.handle, job):
                self._ended(
                    record, ProcessExit(at=time.monotonic()), "another start of its job has taken its place"
                )
                return
            if job.alive and job.pid != record.handle.pid:
                self._restarted(record, job)
                return
            if not job.alive and job.state in parse.STARTING:
                patience = RESPAWN_EVERY  # launchd starts it again, no sooner than its ThrottleInterval says
            elif not job.alive:
                why = "launchd could not run it" if job.spawn_failed else ""
                self._ended(record, parse.process_exit(job, time.monotonic()), why)
                return
            elif time.monotonic() > deadline:
                self._ended(record, ProcessExit(at=time.monotonic()), f"{_UNREACHABLE}: it has not reaped it")
                return
            await asyncio.sleep(patience)

    def _restarted(self, record: Record, job: Job) -> None:
        self._begin_watch(record, job.pid)
        detail = f"run {job.runs} by launchd"
        self._emit(
            AdapterEvent(
                daemon_id=record.handle.daemon_id, kind=EventKind.RESTARTED, pid=job.pid, detail=detail
            )
        )

    def _ended(self, record: Record, seen: ProcessExit, why: str = "") -> None:
        if record.exit is not None:
            return
        handle = record.handle
        for kin in processes.family(handle.daemon_id, handle.pid, handle.start_time):
            record.kin[kin] = None
        left = any(processes.lives(kin) for kin in record.kin)
        record.end(seen)
        self._emit(
            AdapterEvent(
                daemon_id=handle.daemon_id,
                kind=EventKind.EXITED,
                exit=seen,
                pid=handle.pid,
                detail=why,
                leftovers=left,
            )
        )

    # -- letting go ----------------------------------------------------------------------------------------------------------

    async def unload(self, record: Record) -> str:
        """Have launchd forget the job, and remove its property list; empty, or what stands in its way."""
        if record.unloaded:
            return ""
        trouble = await self.bootout(record.launchctl, record.target)
        if not trouble:
            record.unloaded = True
            remove(record.handle.data.get("plist", ""))
        return trouble

    async def bootout(self, launchctl: Launchctl, target: str) -> str:
        """Unload the job *target*, and wait until launchd has no such job; empty, or what stands in its way."""
        deadline = time.monotonic() + self.timeout
        try:
            answer = await launchctl.run("bootout", target)
            if not answer.ok and answer.trouble not in (Trouble.NO_SERVICE, Trouble.IN_PROGRESS):
                return f"launchctl: {answer.text}"
            # bootout may answer before the job is gone, and with an error at that (36): the job itself says when.
            while answer.ok or answer.trouble is not Trouble.NO_SERVICE:
                if time.monotonic() > deadline:
                    return f"launchd still has {target}: {answer.text if not answer.ok else 'it is loaded'}"
                answer = await launchctl.run("print", target)
                await asyncio.sleep(UNLOAD_EVERY if answer.ok else 0)
        except DuendeError as error:
            return str(error)
        return ""

    def _drop(self, record: Record) -> None:
        record.release()
        if self._records.get(record.handle.daemon_id) is record:
            del self._records[record.handle.daemon_id]

    def _emit(self, event: AdapterEvent) -> None:
        for sink in self._sinks:
            sink(event)

    def _spawn_task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def remove(path: str) -> None:
    """Remove a property list, if it is there."""
    if path:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return  # somebody has done that already
