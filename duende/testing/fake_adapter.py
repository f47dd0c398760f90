"""A whole adapter whose daemons exist only in memory, with knobs for every way a platform can fail."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from duende.adapters.contract import (
    AdapterEvent,
    Capabilities,
    DaemonHandle,
    EventKind,
    EventSink,
    Found,
    Ownership,
    Platform,
    PlatformAdapter,
    Probe,
    ProbeState,
    SettingReport,
    SpawnRequest,
    StopCertificate,
    StopStep,
)
from duende.clock import SYSTEM_CLOCK, Clock
from duende.config.model import DaemonConfig
from duende.errors import InstanceNotFoundError, SpawnError
from duende.ids import DaemonId
from duende.signals import Signal
from duende.states import DaemonStatus, Phase, ProcessExit


class Knobs(msgspec.Struct, kw_only=True):
    """How the fake platform behaves; change them at any time."""

    start_errors: list[Exception] = []
    """Raised by the next starts, one each."""
    hang_starts: bool = False
    """Starts are not answered until `FakeAdapter.release_starts`."""
    ready_at_once: bool = True
    """READY is reported with the start, for daemons that notify."""
    ignore_term: bool = False
    """Stops escalate to KILL."""
    unkillable: bool = False
    """Stops end without proof."""
    leftovers: bool = False
    """Exits are reported with descendants left behind."""


class Instance:
    """One daemon of the fake platform."""

    def __init__(self, handle: DaemonHandle, config: DaemonConfig) -> None:
        self.handle = handle
        self.config = config
        self.exit: ProcessExit | None = None
        self.paused = False
        self.signals: list[Signal] = []
        self.waiters: list[asyncio.Future[ProcessExit]] = []


class FakeAdapter(PlatformAdapter):
    """Keeps daemons in memory; `crash` and `finish` end them, `knobs` make the platform misbehave."""

    platform: ClassVar[Platform] = Platform.NATIVE
    capabilities: ClassVar[Capabilities] = Capabilities(pause=True, batch=True, proof_of_stop=True)

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.knobs = Knobs()
        self.instances: dict[str, Instance] = {}
        """By daemon id: the latest instance of each."""
        self.starts: list[str] = []
        """Names in the order they were started."""
        self.stops: list[str] = []
        """Names in the order they were stopped."""
        self.alive = 0
        """Instances that have not ended."""
        self.most_alive: dict[str, int] = {}
        """The largest number of instances that one name ever had at once: more than 1 is a duplicate."""
        self._clock = clock
        self._pids = itertools.count(1000)
        self._sinks: list[EventSink] = []
        self._held: asyncio.Event | None = None
        self._living: dict[str, int] = {}

    async def probe(self) -> Probe:
        """Always usable."""
        return Probe(state=ProbeState.USABLE, why="it is made of memory", version="1")

    async def spawn(self, daemon: Any, config: DaemonConfig) -> DaemonHandle:  # noqa: ARG002
        """Start an instance; see `PlatformAdapter.spawn`."""
        return await self.launch(SpawnRequest(daemon_id=str(DaemonId.new()), config=config))

    async def launch(self, request: SpawnRequest) -> DaemonHandle:
        """Start an instance; see `PlatformAdapter.launch`."""
        result = (await self.launch_many([request]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def launch_many(self, requests: Sequence[SpawnRequest]) -> list[DaemonHandle | Exception]:
        """Start all *requests*."""
        if self.knobs.hang_starts:
            self._held = self._held or asyncio.Event()
            await self._held.wait()
        return [self._start(request) for request in requests]

    def release_starts(self) -> None:
        """Answer the starts that hang."""
        self.knobs.hang_starts = False
        if self._held is not None:
            self._held.set()
            self._held = None

    def _start(self, request: SpawnRequest) -> DaemonHandle | Exception:
        name = request.config.name
        if self.knobs.start_errors:
            return self.knobs.start_errors.pop(0)
        pid = next(self._pids)
        handle = DaemonHandle(
            daemon_id=request.daemon_id,
            name=name,
            platform=self.platform,
            instance=f"fake{pid}",
            pid=pid,
            start_time=pid,
            boot_id="fake",
        )
        self.instances[request.daemon_id] = Instance(handle, request.config)
        self.starts.append(name)
        self.alive += 1
        self._living[name] = self._living.get(name, 0) + 1
        self.most_alive[name] = max(self.most_alive.get(name, 0), self._living[name])
        if self.knobs.ready_at_once:
            asyncio.get_running_loop().call_soon(
                self._emit, AdapterEvent(daemon_id=request.daemon_id, kind=EventKind.READY, pid=pid)
            )
        return handle

    def end(self, daemon_id: str, seen: ProcessExit) -> None:
        """End an instance as *seen*.

        Raises:
            InstanceNotFoundError: it does not run.
        """
        instance = self.instances.get(daemon_id)
        if instance is None or instance.exit is not None:
            raise InstanceNotFoundError(f"no instance of {daemon_id} runs")
        instance.exit = seen
        self.alive -= 1
        self._living[instance.handle.name] -= 1
        for future in instance.waiters:
            if not future.done():
                future.set_result(seen)
        self._emit(
            AdapterEvent(
                daemon_id=daemon_id,
                kind=EventKind.EXITED,
                exit=seen,
                pid=instance.handle.pid,
                leftovers=self.knobs.leftovers,
            )
        )

    def crash(self, daemon_id: str, signal: int = 11) -> None:
        """End an instance by a signal nobody here sent; raises as `end` does."""
        self.end(daemon_id, ProcessExit(signal=signal, at=self._clock.monotonic()))

    def finish(self, daemon_id: str, code: int = 0) -> None:
        """End an instance with an exit code; raises as `end` does."""
        self.end(daemon_id, ProcessExit(code=code, at=self._clock.monotonic()))

    async def signal(self, handle: DaemonHandle, signal: Signal) -> None:
        """Deliver a signal; KILL ends the instance.

        Raises:
            InstanceNotFoundError: it has ended.
        """
        instance = self.instances.get(handle.daemon_id)
        if instance is None or instance.exit is not None:
            raise InstanceNotFoundError(f"{handle.name!r} has ended")
        instance.signals.append(signal)
        instance.paused = {Signal.STOP: True, Signal.CONT: False}.get(signal, instance.paused)
        if signal is Signal.KILL or (signal.is_shutdown and not self.knobs.ignore_term):
            self.end(handle.daemon_id, ProcessExit(signal=signal.number(), at=self._clock.monotonic()))

    async def status(self, handle: DaemonHandle) -> DaemonStatus:
        """How the instance is."""
        instance = self.instances.get(handle.daemon_id)
        if instance is None or (instance.exit is not None and instance.exit.ok):
            return DaemonStatus(Phase.STOPPED)
        if instance.exit is not None:
            return DaemonStatus.failed(instance.exit.failure())
        return DaemonStatus(Phase.PAUSED if instance.paused else Phase.RUNNING)

    async def stop(self, handle: DaemonHandle, timeout: float) -> StopCertificate:
        """End the instance."""
        self.stops.append(handle.name)
        await asyncio.sleep(0)  # a real platform never answers in the same turn of the loop
        instance = self.instances.get(handle.daemon_id)
        escalated = self.knobs.ignore_term
        if self.knobs.unkillable:
            return StopCertificate(
                name=handle.name,
                escalated=True,
                proven=False,
                proof="it is unkillable",
                blocked_by=(f"{handle.pid} fake (D)",),
            )
        if instance is not None and instance.exit is None:
            self.end(handle.daemon_id, ProcessExit(signal=9 if escalated else 15, at=self._clock.monotonic()))
        return StopCertificate(
            name=handle.name,
            steps=(
                StopStep(0.0, f"TERM to {handle.pid}"),
                *((StopStep(timeout, f"KILL to {handle.pid}"),) if escalated else ()),
            ),
            escalated=escalated,
            proven=True,
            proof="the fake platform forgot it",
            exit=instance.exit if instance else None,
        )

    async def stop_many(self, handles: Sequence[DaemonHandle], timeout: float) -> list[StopCertificate]:
        """End all *handles*."""
        return [await self.stop(handle, timeout) for handle in handles]

    async def wait(self, handle: DaemonHandle) -> ProcessExit:
        """Wait for the end.

        Raises:
            InstanceNotFoundError: there is no such instance.
        """
        instance = self.instances.get(handle.daemon_id)
        if instance is None:
            raise InstanceNotFoundError(f"{handle.name!r} was never started")
        if instance.exit is not None:
            return instance.exit
        future: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        instance.waiters.append(future)
        return await future

    async def verify(self, handle: DaemonHandle) -> Ownership:
        """Ours while it runs."""
        instance = self.instances.get(handle.daemon_id)
        return (
            Ownership.OURS
            if instance is not None and instance.exit is None and instance.handle.pid == handle.pid
            else Ownership.GONE
        )

    async def adopt(self, handle: DaemonHandle) -> Ownership:
        """Nothing to take over: memory has one owner."""
        return await self.verify(handle)

    async def explain(self, handle: DaemonHandle, config: DaemonConfig) -> list[SettingReport]:
        """Memory honours everything and can be asked for one limit.

        Raises:
            InstanceNotFoundError: it does not run.
        """
        if await self.verify(handle) is not Ownership.OURS:
            raise InstanceNotFoundError(f"{handle.name!r} does not run")
        wanted = str(config.resources.memory_bytes)
        return [
            SettingReport(key="resources.memory_bytes", wanted=wanted, found=wanted, outcome=Found.HONOURED)
        ]

    def subscribe(self, sink: EventSink) -> None:
        """Report to *sink*."""
        self._sinks.append(sink)

    def report(self, event: AdapterEvent) -> None:
        """Report *event* as the platform would."""
        self._emit(event)

    async def close(self) -> None:
        """Forget everything."""
        for daemon_id, instance in list(self.instances.items()):
            if instance.exit is None:
                self.finish(daemon_id)

    def _emit(self, event: AdapterEvent) -> None:
        for sink in list(self._sinks):
            sink(event)


def refused(name: str) -> SpawnError:
    """A start error as platforms give it, for `Knobs.start_errors`."""
    return SpawnError(
        f"cannot start {name!r}: refused by the fake platform", errno=13, step="exec", path="/fake"
    )
