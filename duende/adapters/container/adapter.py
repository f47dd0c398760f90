"""The container adapter: the verbs."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from duende.adapters.container import parse, pausing
from duende.adapters.container.detect import runtime_named
from duende.adapters.container.engine import Runtime
from duende.adapters.container.history import earlier_lines, forget
from duende.adapters.container.identity import Identity
from duende.adapters.container.ignored import refuse_ignored
from duende.adapters.container.looking import doubt_after_pause, judge_again
from duende.adapters.container.probe import best, probe_all, probe_runtime
from duende.adapters.container.records import RECONNECT_FIRST, RECONNECT_MAX, SWEEP_PATIENCE
from duende.adapters.container.stopping import prove, send, stop
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
from duende.config.model import DaemonConfig
from duende.errors import (
    DuendeError,
    InstanceNotFoundError,
    NotSupportedError,
    PlatformResourceError,
    StatusFailedError,
)
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit


class ContainerAdapter(Identity, PlatformAdapter):
    """Daemons in containers of Docker, Podman or containerd.

    *runtime* is "docker", "podman" or "containerd"; without it the first of them that answers is used. *socket* is where it listens, *image*
    what a daemon without `platform.container_image` runs in, *timeout* the seconds that one call to the runtime may take. *runtime_dir* holds
    the sockets for readiness and health, *state_dir* the end of the output of earlier runs; both default to a private temporary folder. With
    *keep* containers go on when this process ends, without it they are stopped and removed.

    A container is removed when its daemon is started again (the last lines of its output are kept), when the daemon is forgotten, and when
    the adapter is closed without *keep*: until then its exit and its output can be read from the runtime.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        pause=True, logs=True, proof_of_stop=True, restarts_itself=True, checks_health=True, trace=True
    )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- verbs ---------------------------------------------------------------------------------------------------------------

    async def probe(self) -> Probe:
        """Say whether containers can be run here, with the runtime that was asked for or any."""
        runtime, socket = self._wanted
        if runtime is not None:
            return await probe_runtime(runtime_named(runtime), socket, self.timeout)
        if socket is None:
            return best(list((await probe_all(self.timeout)).values()))
        return best(
            [await probe_runtime(each, socket, self.timeout) for each in (Runtime.DOCKER, Runtime.CONTAINERD)]
        )

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start what *request* says; see `PlatformAdapter.launch`."""
        return await self._start_one(request)

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Send *signal* to the main process; STOP and CONT freeze and thaw the whole container.

        Raises:
            InstanceNotFoundError: it has ended.
            IdentityError: the container or its process is not ours.
            SignalFailedError: the kernel refused.
            PlatformError: the runtime did not deliver it.
        """
        if signal in (Signal.STOP, Signal.CONT):
            await (self.pause(handle) if signal is Signal.STOP else self.resume(handle))
            return
        await send(await self._living(handle, signal.value), signal)

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the daemon is, from the runtime's inspect.

        Raises:
            StatusFailedError: the runtime did not say.
        """
        record = self._record_of(handle)
        seen = record.exit if record is not None else None
        if record is not None and seen is None and record.stopping is not None:
            return DaemonStatus(Phase.STOPPING)
        if seen is not None and seen.known:
            return DaemonStatus(Phase.STOPPED) if seen.ok else DaemonStatus.failed(seen.failure())
        try:
            state = await self._engine_of(handle).inspect(handle.instance)
        except InstanceNotFoundError:
            return DaemonStatus(Phase.STOPPED)
        except StatusFailedError:
            raise
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot say how {handle.name!r} is: {error.problem}", remedy=error.remedy
            ) from error
        if state.running and record is not None and pausing.stopped(record):
            return DaemonStatus(Phase.PAUSED)
        return parse.status_of(state, seen)

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the daemon and prove that nothing is left; see `PlatformAdapter.stop`."""
        record = self._record_of(handle)
        if record is None:
            found = await self.adopt(handle)
            record = self._record_of(handle)
            if record is None:
                gone = found is Ownership.GONE
                proof = (
                    "its container does not run"
                    if gone
                    else f"its container is {found.value}: nothing was signalled"
                )
                return StopCertificate(name=handle.name, proven=gone, proof=proof)
        if record.exit is not None:
            proven, proof, blocked = await prove(record)
            return StopCertificate(
                name=handle.name, proven=proven, proof=proof, blocked_by=blocked, exit=record.exit
            )
        if record.stopping is None:
            record.stopping = asyncio.get_running_loop().create_task(stop(record, timeout))
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
            try:
                return parse.process_exit(await self._engine_of(handle).inspect(handle.instance))
            except InstanceNotFoundError:
                return ProcessExit(at=asyncio.get_running_loop().time())
        if record.exit is not None:
            return record.exit
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        record.waiters.append(future)
        return await future

    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Look at a handle again: by the kernel where its process is on this host, else by the runtime."""
        try:
            return (await self._look(handle))[0]
        except DuendeError:
            return Ownership.UNVERIFIABLE

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Take over a daemon that an earlier process started."""
        try:
            return await self._adopt(handle)
        except DuendeError:
            return Ownership.UNVERIFIABLE

    async def pause(self, handle: DaemonHandle) -> None:
        """Have none of its processes run; status says Paused. Harmless when it is paused already.

        Raises:
            InstanceNotFoundError: it has ended.
            PlatformTimeoutError: it did not come about in time; should it still, it is undone.
            PlatformError: the runtime did not do it.
        """
        record = await self._living(handle, "STOP")
        try:
            await pausing.pause(record)
        except BaseException:
            if record.paused:
                self._spawn_task(pausing.take_back(record))
            raise

    async def resume(self, handle: DaemonHandle) -> None:
        """Let them run on. Harmless when it is not paused.

        Raises:
            InstanceNotFoundError: it has ended.
            PlatformError: the runtime did not do it.
        """
        record = await self._living(handle, "CONT")
        record.doubted_until = time.monotonic() + doubt_after_pause(record)
        await pausing.resume(record)
        if record.ill:
            self._spawn_task(judge_again(record, self._tell_verdict))

    async def logs(self, handle: DaemonHandle, lines: int) -> list[str]:
        """The last *lines* lines of output, those of the run before included."""
        try:
            found = await self._engine_of(handle).logs(handle.instance, lines)
        except InstanceNotFoundError:
            found = []
        if len(found) < lines:
            found = earlier_lines(self.state_dir, handle.daemon_id, lines - len(found)) + found
        return found[-lines:] if lines > 0 else []

    def watch_log(self, handle: DaemonHandle, pattern: str) -> None:
        """Report LOG_LINE once a line of output matches the regular expression *pattern*, also over a runtime that goes away meanwhile."""
        task = self._spawn_task(self._watch_log(handle, re.compile(pattern)))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _watch_log(self, handle: DaemonHandle, pattern: re.Pattern[str]) -> None:
        told, delay = False, RECONNECT_FIRST
        while True:
            try:
                async for line in self._engine_of(handle).follow(handle.instance):
                    delay = RECONNECT_FIRST
                    if pattern.search(line):
                        self._emit(
                            AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.LOG_LINE, detail=line)
                        )
                        return
            except DuendeError as error:
                if not told:
                    told = True
                    detail = f"cannot follow its output: {error}; trying again"
                    self._emit(AdapterEvent(daemon_id=handle.daemon_id, kind=EventKind.ALERT, detail=detail))
            await asyncio.sleep(delay)
            delay = min(delay * 2, RECONNECT_MAX)
            record = self._record_of(handle)
            if record is None or record.exit is not None:
                return  # there will be no more of it

    async def run_inside(self, handle: DaemonHandle, argv: Sequence[str], timeout: float) -> int:
        """Run a program in the daemon's container; its exit code, -1 when it did not end within *timeout* seconds."""
        return await self._engine_of(handle).run_inside(handle.instance, argv, timeout)

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Read back what the runtime and the kernel made of each setting; see `PlatformAdapter.explain`.

        Raises:
            InstanceNotFoundError: it has ended.
            StatusFailedError: the runtime did not say.
        """
        from duende.adapters.container.explain import explain

        record = await self._living(handle, "a question")
        group = record.watch.group if record.watch is not None else None
        try:
            answer = await record.engine.describe(record.handle.instance)
            return explain(config, answer, await record.engine.facts(), group, record.handle.pid)
        except InstanceNotFoundError:
            raise
        except DuendeError as error:
            raise StatusFailedError(
                f"cannot explain {handle.name!r}: {error.problem}", remedy=error.remedy
            ) from error

    async def update_limits(self, handle: DaemonHandle, config: DaemonConfig, before: DaemonConfig) -> None:
        """Put the limits of *config* in force for a container that runs; see `SupportsLimits`.

        Raises:
            InstanceNotFoundError: it has ended.
            NotSupportedError: this runtime cannot, or not that limit.
            PlatformResourceError: the runtime refuses.
        """
        from duende.adapters.container.live import update_body

        record = await self._living(handle, "new limits")
        refuse_ignored(config, await record.engine.facts())
        try:
            await record.engine.update(handle.instance, update_body(config, before))
        except (InstanceNotFoundError, NotSupportedError):
            raise
        except DuendeError as error:
            raise PlatformResourceError(
                f"cannot limit {handle.name!r}: {error.problem}", remedy=error.remedy
            ) from error

    async def usage(self, handle: DaemonHandle, config: DaemonConfig) -> dict[str, float]:
        """What its control group uses, where that is on this host; see `SupportsLimits`.

        Raises:
            InstanceNotFoundError: it has ended.
        """
        from duende.adapters.container.live import used

        del config
        record = await self._living(handle, "a question")
        group = record.watch.group if record.watch is not None else None
        return {} if group is None else self._used.told(handle, used(group))

    def subscribe(self, sink: EventSink) -> None:
        """Report events of all daemons to *sink* from now on."""
        self._sinks.append(sink)

    def forget(self, daemon_ids: Iterable[str]) -> None:
        """Remove the containers of daemons that have ended, and all that is kept of them."""
        for daemon_id in daemon_ids:
            record = self._records.get(daemon_id)
            if record is not None and record.exit is not None:
                forget(self.state_dir, daemon_id)
                self._used.forget(daemon_id)
                self._spawn_task(self._remove_ended(record))

    async def close(self) -> None:
        """Stop and remove what was started unless told to keep it, and let go of the runtime."""
        if not self._keep and self._records:
            records = list(self._records.values())
            await asyncio.gather(*(self.stop(each.handle, 10.0) for each in records if each.exit is None))
            await asyncio.gather(*(self._remove_ended(each) for each in records))
        if self._sweeper is not None and not self._sweeper.done():
            await asyncio.wait([self._sweeper], timeout=SWEEP_PATIENCE)
        streams = [each.task for each in self._listeners.values() if each.task is not None]
        streams += self._following
        if self._sweeper is not None:
            streams.append(self._sweeper)
        for task in streams:
            task.cancel()
        for record in self._records.values():
            record.release()
        pending = [task for task in self._tasks if task not in streams]
        if pending:
            _, late = await asyncio.wait(pending, timeout=self.timeout)
            for task in late:
                task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        self._listeners.clear()
        self._records.clear()
        self._by_container.clear()
        if self._notify is not None:
            self._notify.close()
            self._notify = None
        for engine in self._engines.values():
            await engine.close()
        self._engines.clear()
        self._engine = None
        if self._own_folder is not None:
            import shutil

            shutil.rmtree(self._own_folder, ignore_errors=True)
