"""The native adapter: the verbs, in an asyncio loop, on top of one warden."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

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
from duende.adapters.native import foreign
from duende.adapters.native.exchange import Exchange
from duende.adapters.native.ignored import asks_for_bounds
from duende.adapters.native.link import Link
from duende.adapters.native.logs import tail
from duende.adapters.native.probe import probe_native
from duende.adapters.native.records import (
    CHUNK,
    DRAIN_TIMEOUT,
    SIGNAL_TIMEOUT,
    SPAWN_EACH,
    SPAWN_TIMEOUT,
    STOP_MARGIN,
    Batch,
    Record,
)
from duende.adapters.native.render import asks_for_group
from duende.config.model import DaemonConfig
from duende.errors import InstanceNotFoundError, PlatformError, PlatformTimeoutError, SignalFailedError
from duende.ids import DaemonId
from duende.kernel.process import read_stat
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit


class NativeAdapter(Exchange, PlatformAdapter):
    """Daemons as processes of this system.

    *runtime_dir* and *state_dir* default to a private temporary folder. With *keep* the daemons and their warden go on when this process
    ends, and an adapter on the same *runtime_dir* finds them again; without it they are stopped.
    """

    platform: ClassVar[Platform] = Platform.NATIVE
    capabilities: ClassVar[Capabilities] = Capabilities(
        pause=True, logs=True, batch=True, proof_of_stop=True, trace=True
    )

    async def __aenter__(self) -> Self:
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
            sample = SpawnRequest(
                daemon_id=str(DaemonId.new()), config=DaemonConfig(name="warm", daemon="duende.daemon:Daemon")
            )
            launch = self.renderer.render(sample)
            if launch.key is not None:
                link.send("warm", *launch.key)

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`."""
        result = (await self.launch_many([request]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def launch_many(self, requests: Sequence[SpawnRequest]) -> list[DaemonHandle | Exception]:
        """Start all *requests* side by side; a handle or the error of each, in order."""
        link = await self._ready_link()
        refused = await self._bound(requests)
        await self._expect(link, requests)
        batch = self.begin_batch(
            link,
            [request for request in requests if request.daemon_id not in refused] if refused else requests,
        )
        try:
            async with asyncio.timeout(SPAWN_TIMEOUT + SPAWN_EACH * len(requests)):
                await asyncio.shield(batch.done)
        except TimeoutError:
            batch.late = True
            late = PlatformTimeoutError("start a daemon", SPAWN_TIMEOUT)
            found = {**batch.results, **refused}
            return [found.get(request.daemon_id, late) for request in requests]
        found = {**batch.results, **refused}
        return [found[request.daemon_id] for request in requests]

    def begin_batch(self, link: Link, requests: Sequence[SpawnRequest]) -> Batch:
        """Send a batch to the warden; its `done` is set when all are answered."""
        self._serial += 1
        batch = self._batches[self._serial] = Batch(self._serial, requests)
        for first in range(0, len(requests), CHUNK):
            for kind, settings, key, items in self._grouped(batch, requests[first : first + CHUNK], link):
                if kind == "spawn":
                    link.send("spawn", batch.number, settings, items)
                else:
                    link.send("fork", batch.number, key, settings, items)
        self._finish_if_complete(batch)
        return batch

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the main process; see `PlatformAdapter.signal`.

        Raises:
            InstanceNotFoundError: it has ended.
            SignalFailedError: the kernel refused.
        """
        record = self._records.get(handle.daemon_id)
        if record is None or record.watch is not None:
            foreign.send(handle, signal.number())
            return
        if record.exit is not None:
            raise InstanceNotFoundError(
                f"cannot send {signal.value} to {handle.name!r}: it has ended ({record.exit})"
            )
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
            return (
                DaemonStatus(Phase.STOPPED) if record.exit.ok else DaemonStatus.failed(record.exit.failure())
            )
        if record.stop is not None:
            return DaemonStatus(Phase.STOPPING)
        stat = read_stat(handle.pid)
        return DaemonStatus(Phase.PAUSED if stat is not None and stat.state in "Tt" else Phase.RUNNING)

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and prove that nothing is left; see `PlatformAdapter.stop`."""
        return (await self.stop_many([handle], timeout))[0]

    def begin_stops(self, stops: Sequence[tuple[DaemonHandle, float]]) -> None:
        """Send TERM to all of these with one order to the warden; see `SupportsMassStop`."""
        link = self._link
        if link is None or link.closed or self._hello is None or not self._hello.done():
            return
        wanted = []
        for handle, timeout in stops:
            record = self._records.get(handle.daemon_id)
            if record is not None and record.exit is None and record.watch is None and record.stop is None:
                record.begin_stop(timeout)
                wanted.append((handle.daemon_id, timeout))
        if wanted:
            link.send("stop", 0, wanted)

    async def stop_many(self, handles: Sequence[DaemonHandle], timeout: float) -> list[StopCertificate]:
        """Stop all *handles* side by side, one certificate each, in order."""
        ours: list[tuple[DaemonHandle, Record, asyncio.Future[tuple[Any, ...]]]] = []
        wanted: list[tuple[str, float]] = []
        for handle in handles:
            record = self._records.get(handle.daemon_id)
            if record is None or record.watch is not None:
                continue
            if record.begin_stop(timeout):
                wanted.append((handle.daemon_id, timeout))
            if record.stop is not None:
                ours.append((handle, record, record.stop))
        answers: dict[str, StopCertificate] = {}
        if ours:
            link = await self._ready_link()
            if wanted:
                link.send("stop", 0, wanted)
            await asyncio.wait([answer for *_, answer in ours], timeout=timeout + STOP_MARGIN)
            for handle, record, answer in ours:
                answers[handle.daemon_id] = self._certificate(handle, record, answer, timeout)
        for handle in handles:
            if handle.daemon_id not in answers:
                answers[handle.daemon_id] = await foreign.stop(handle, timeout)
            if self._groups is not None:
                found = answers[handle.daemon_id]
                answers[handle.daemon_id] = await self._with_group(handle, found)
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
        """Take over a daemon that an earlier process started; the end of one that ended meanwhile is reported at once."""
        await self._ready_link()
        if handle.daemon_id in self._records:
            return Ownership.OURS
        if "grouped" in handle.data:
            self.groups.find(handle)  # held from here on: watched, checked at the stop, and removed with it
        pid, seen, leftovers = self._unclaimed.pop(handle.daemon_id, (0, None, False))
        if seen is not None and pid == handle.pid:
            self._records[handle.daemon_id] = Record(handle, handle.data.get("log"))
            asyncio.get_running_loop().call_soon(
                partial(self._on_exit, handle.daemon_id, seen, leftovers=leftovers, pid=pid)
            )
            return Ownership.OURS
        found = foreign.verify(handle, self._boot)
        if found is Ownership.OURS:
            record = self._records[handle.daemon_id] = Record(handle, handle.data.get("log"))
            self._by_pid[handle.pid] = handle.daemon_id
            if self._known.get(handle.pid) != handle.daemon_id:
                record.watch = foreign.Watch(handle, self._ender_of(handle.daemon_id))
        return found

    async def find(self, request: SpawnRequest) -> DaemonHandle | None:
        """A handle of the warden's child that answers *request*, of which an earlier manager could not write one down any more."""
        await self._ready_link()
        pid = next((pid for pid, owner in self._known.items() if owner == request.daemon_id), 0)
        if not pid or request.daemon_id in self._records:
            return None
        launch = self.renderer.render(request)
        return self._handle(request, pid, launch.log[3] if launch.log else None)

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output, with all that was written before the call."""
        path = handle.data.get("log")
        if not path:
            return []
        if self._link is not None and not self._link.closed:
            try:
                await self._ask(self._link, "drain", handle.daemon_id, DRAIN_TIMEOUT)
            except PlatformError:
                pass  # the disk hangs or the warden has gone: what did reach the log is still worth reading
        return tail(path, lines)

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what the kernel made of each setting; see `PlatformAdapter.explain`.

        Raises:
            InstanceNotFoundError: it has ended.
        """
        from duende.adapters.native.explain import explain

        if foreign.verify(handle, self._boot) is not Ownership.OURS:
            raise InstanceNotFoundError(f"cannot explain {handle.name!r}: it does not run")
        reports = explain(handle.name, handle.pid, config)
        if asks_for_group(config) and (limiter := self.groups.find(handle, config)) is not None:
            from duende.adapters.native.groups import explain as explain_group

            grouped = list(explain_group(limiter, config))
            keys = {report.key for report in grouped}
            reports = [report for report in reports if report.key not in keys] + grouped
        if asks_for_bounds(config):
            from duende.adapters import bounds

            reports += await asyncio.to_thread(lambda: list(bounds.explain(config)))
        return reports

    async def update_limits(self, handle: DaemonHandle, config: DaemonConfig, before: DaemonConfig) -> None:
        """Put the limits of *config* in force for a daemon that runs; see `SupportsLimits`.

        Raises:
            InstanceNotFoundError: it has ended.
            PlatformResourceError: it was started without limits of its own, or one cannot be enforced.
        """
        if foreign.verify(handle, self._boot) is not Ownership.OURS:
            raise InstanceNotFoundError(f"cannot limit {handle.name!r}: it does not run")
        grouped = asks_for_group(config) or asks_for_group(before)
        if grouped:
            self.groups.update(handle, config)
        if asks_for_bounds(config) or asks_for_bounds(before):
            from duende.adapters import bounds

            try:
                await asyncio.to_thread(bounds.apply, config, before)
            except PlatformError:
                if grouped:
                    self.groups.update(handle, before)
                raise

    async def usage(self, handle: DaemonHandle, config: DaemonConfig) -> dict[str, float]:
        """What its group, folder and network namespace use; see `SupportsLimits`."""
        return {**self.groups.usage(handle), **await self._bounds_used(handle, config)}

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
        """Report LOG_LINE once a line of output matches the regular expression *pattern*; that of its readiness since its first line."""
        expected, line = self._expected.pop(handle.daemon_id, ("", None))
        if expected != pattern or not pattern:
            if self._link is not None:
                self._link.send("log", "watch", handle.daemon_id, pattern)
        elif line is not None:
            event = AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.LOG_LINE, detail=line)
            asyncio.get_running_loop().call_soon(self._emit, event)

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Drop what is kept of daemons that have ended."""
        gone = [d for d in daemon_ids if d in self._records and self._records[d].exit is not None]
        for daemon_id in gone:
            record = self._records.pop(daemon_id)
            self._expected.pop(daemon_id, None)
            if record.watch is not None:
                record.watch.close()
            if self._groups is not None:
                self._groups.discard(daemon_id)
            if self._bounds is not None:
                self._bounds.forget(daemon_id)
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
        if self._groups is not None:
            self._groups.close(keep=self._keep)
        if self._notify is not None:
            self._notify.close()
            self._notify = None
        for record in self._records.values():
            if record.watch is not None:
                record.watch.close()
        if self._own_folder is not None:
            import shutil

            shutil.rmtree(self._own_folder, ignore_errors=True)
