"""Chaos that acts on a daemon, by a schedule that is a pure function of the configuration, with proofs and a report.

```python
config = ChaosConfig(seed=7, latency_injection=(0.1, 0.5), error_injection=0.05, cpu_stress=0.5, duration=10.0)
chaos = ChaosInjector(config, harness, port=8080)
report = await chaos.run(lambda: fetch(chaos.port))      # before, during and after the chaos
assert report.took_effect, report.table()
assert report.recovery_time is not None
```

With a *port*, latency, errors and loss happen to single operations in a proxy (`duende.testing.proxy`): clients connect to `chaos.port`. Without one,
latency is a pause of the whole process, once an interval at most, and errors and loss are refused. Pressure on memory and processors comes from
companion processes (`duende.testing.faults`).
"""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Literal, Protocol, Self

import msgspec

from duende.config.model import ResourceConfig
from duende.errors import ConfigError, DuendeError, StateError
from duende.testing.chaos_report import ChaosReport, FaultRecord
from duende.testing.dice import Dice, Draws, check_probability, fires
from duende.testing.faults import CpuStress, Effect, Fault, MemoryPressure, Pause
from duende.testing.load import LoadReport, LoadTestConfig, LoadTester, Operation
from duende.testing.proxy import TcpProxy, UdpProxy, Weather

MEMORY, CPU, PAUSE = "memory", "cpu", "pause"
RECOVERED = 3
"""Operations in a row that must work before the daemon counts as recovered."""


class ChaosConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which faults, how likely, how long. Everything is off unless asked for."""

    seed: int = 0
    """The same seed gives the same faults."""
    latency_injection: tuple[float, float] | None = None
    """Probability and seconds: of each operation at the port, or without a port of each interval."""
    error_injection: float | None = None
    """Probability for each operation that its connection is reset."""
    packet_loss: float | None = None
    """Probability for each operation (TCP: of a retransmission, see `duende.testing.proxy`; UDP: of each datagram, both ways)."""
    memory_pressure: float | None = None
    """Share of the daemon's memory limit that a companion takes."""
    cpu_stress: float | None = None
    """Share of the machine's processors that companions burn."""
    stress_probability: float = 1.0
    """Probability for each interval that memory pressure is on, and, drawn apart, that CPU stress is."""
    duration: float = 60.0
    """Seconds of chaos."""
    interval: float = 1.0
    """Seconds of one interval: pauses and stress are drawn once for each."""

    @classmethod
    def latency(cls, probability: float = 0.1, delay: float = 0.5) -> Self:
        """Latency alone."""
        return cls(latency_injection=(probability, delay))

    @classmethod
    def errors(cls, probability: float = 0.05) -> Self:
        """Errors alone."""
        return cls(error_injection=probability)

    @classmethod
    def comprehensive(cls) -> Self:
        """Everything at once, with the numbers of the Rust project: latency 500 ms in 10 %, errors 5 %, loss 1 %, memory 0.7, CPU 0.5, 60 s."""
        return cls(
            latency_injection=(0.1, 0.5),
            error_injection=0.05,
            packet_loss=0.01,
            memory_pressure=0.7,
            cpu_stress=0.5,
        )

    @property
    def needs_port(self) -> bool:
        """Whether something is asked for that only happens to operations at a port."""
        return bool(self.error_injection or self.packet_loss)

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ConfigError: a number makes no sense.
        """
        chance, delay = self.latency_injection or (None, 0.0)
        for key, value in (
            ("latency_injection", chance),
            ("error_injection", self.error_injection),
            ("packet_loss", self.packet_loss),
            ("memory_pressure", self.memory_pressure),
            ("cpu_stress", self.cpu_stress),
            ("stress_probability", self.stress_probability),
        ):
            check_probability(key, value)
        for key, seconds in (("duration", self.duration), ("interval", self.interval)):
            if not 0 < seconds < math.inf:
                raise ConfigError(f"{key} is {seconds!r}, but must be more than 0 seconds", key=key)
        if not 0 <= delay < math.inf:
            raise ConfigError(
                f"latency_injection delays by {delay!r}, but must by 0 seconds or more",
                key="latency_injection",
            )


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that is on for a while: seconds from the start of the chaos, and how long."""

    kind: str
    at: float
    lasts: float


def schedule(config: ChaosConfig, *, pauses: bool) -> tuple[Episode, ...]:
    """The episodes of *config* in the order of time, a pure function; *pauses*: latency is made by pausing.

    Neighbouring intervals of the same stress make one episode.
    """
    count = math.ceil(config.duration / config.interval - 1e-9)
    episodes: list[Episode] = []
    chance, delay = config.latency_injection or (0.0, 0.0)
    if pauses and delay:
        hits = [number for number in range(count) if fires(config.seed, PAUSE, number, chance)]
        lasts = min(delay, config.interval)
        episodes += [Episode(kind=PAUSE, at=number * config.interval, lasts=lasts) for number in hits]
    for kind, amount in ((MEMORY, config.memory_pressure), (CPU, config.cpu_stress)):
        begin: int | None = None
        for number in range(count + 1 if amount else 0):
            hit = number < count and fires(config.seed, kind, number, config.stress_probability)
            if hit and begin is None:
                begin = number
            elif not hit and begin is not None:
                at, end = begin * config.interval, min(number * config.interval, config.duration)
                episodes.append(Episode(kind=kind, at=at, lasts=end - at))
                begin = None
    return tuple(sorted(episodes, key=lambda each: (each.at, each.kind)))


class Target(Protocol):
    """What chaos acts on: a `DaemonTestHarness`, or anything that knows its present process."""

    @property
    def pid(self) -> int:
        """The daemon's main process on this host, 0 when it has none."""
        ...


class ChaosInjector:
    """Injects what its configuration says into *target*, between `start` and `stop` or in a `run` that measures."""

    def __init__(
        self,
        config: ChaosConfig,
        target: Target,
        *,
        port: int | None = None,
        protocol: Literal["tcp", "udp"] = "tcp",
        memory_limit: int | None = None,
    ) -> None:
        config.check()
        if config.needs_port and port is None:
            raise ConfigError(
                "errors and packet loss need a port to happen at",
                remedy="give port=, the one the daemon listens on",
                key="port",
            )
        delay = config.latency_injection[1] if config.latency_injection else 0.0
        if port is None and delay > config.interval:
            raise ConfigError(
                f"cannot pause for {delay:g} s in each interval of {config.interval:g} s",
                remedy="raise interval",
                key="interval",
            )
        self.config = config
        self._target = target
        resources: ResourceConfig = getattr(getattr(target, "config", None), "resources", ResourceConfig())
        self._memory = int((config.memory_pressure or 0.0) * (memory_limit or resources.memory_bytes))
        self._dice = Dice(config.seed)
        weather = Weather(
            latency=config.latency_injection[0] if config.latency_injection else 0.0,
            delay=delay,
            error=config.error_injection or 0.0,
            loss=config.packet_loss or 0.0,
        )
        make = TcpProxy if protocol == "tcp" else UdpProxy
        self.proxy: TcpProxy | UdpProxy | None = make(port, weather, self._dice) if port is not None else None
        """Where operations meet their faults; None without a port."""
        self.episodes = schedule(config, pauses=port is None)
        """What is going to happen."""
        self._records: list[FaultRecord] = []
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._lasted = 0.0
        self._open = False

    # -- life ------------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether faults are being injected."""
        return self._task is not None and not self._task.done()

    @property
    def port(self) -> int:
        """Where clients connect while chaos is prepared or active.

        Raises:
            StateError: there is no proxy, or it is not open yet.
        """
        if self.proxy is None or not self.proxy.port:
            raise StateError(
                "there is no port to connect to", remedy="give port= and call prepare() or start() first"
            )
        return self.proxy.port

    async def prepare(self) -> Self:
        """Open the proxy, with fair weather; `start` and `run` do it themselves."""
        if self.proxy is not None and not self._open:
            await self.proxy.open()
            self._open = True
        return self

    async def start(self) -> None:
        """Begin. Faults end by themselves after `duration`.

        Raises:
            StateError: it has begun.
        """
        if self._task is not None:
            raise StateError("this chaos has begun already", remedy="stop it first, or make another one")
        await self.prepare()
        self._began = time.monotonic()
        if self.proxy is not None:
            self.proxy.active = True
        self._task = asyncio.create_task(self._live())

    async def stop(self) -> ChaosReport:
        """End every fault that is on and say what there was; harmless when nothing is on. The proxy stays open, with fair weather.

        Raises:
            Exception: a fault failed in a way that is no error of the platform's.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            (seen,) = await asyncio.gather(task, return_exceptions=True)
            self._lasted = min(time.monotonic() - self._began, self.config.duration)
            if isinstance(seen, Exception):
                raise seen
        return self._report()

    async def close(self) -> None:
        """Stop, and close the proxy."""
        await self.stop()
        if self.proxy is not None and self._open:
            self._open = False
            await self.proxy.close()

    async def wait(self) -> None:
        """Wait until all faults have ended by themselves."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(
        self, operation: Operation, *, rate: float = 50.0, users: int = 10, before: float = 1.0, after: float = 1.0,
        timeout: float = 5.0, recover_within: float = 30.0,
    ) -> ChaosReport:  # fmt: skip
        """Measure *operation* at *rate* per second before, during and after the chaos, and how long recovery takes.

        The operation should go to `port` where there is one. *before* and *after* are seconds.
        """
        await self.prepare()

        async def measure(seconds: float) -> LoadReport:
            load = LoadTestConfig(users=users, ramp=0.0, duration=seconds, target_rps=rate, timeout=timeout)
            return await LoadTester(load, operation).run()

        try:
            first = await measure(before)
            await self.start()
            meanwhile = await measure(self.config.duration)
            await self.wait()
            found = await self.stop()
            recovery = await _recovery(operation, 1.0 / rate, timeout, recover_within)
            last = await measure(after)
        finally:
            await self.close()
        return msgspec.structs.replace(
            found, before=first, during=meanwhile, after=last, recovery_time=recovery
        )

    # -- inside ----------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for each in self.episodes:
                    group.create_task(self._episode(each))
                group.create_task(asyncio.sleep(self.config.duration))
        finally:
            if self.proxy is not None:
                self.proxy.active = False

    def _fault(self, kind: str) -> Fault:
        if kind == PAUSE:
            return Pause(lambda: self._target.pid)
        if kind == MEMORY:
            return MemoryPressure(lambda: self._target.pid, self._memory)
        import os

        return CpuStress((self.config.cpu_stress or 0.0) * (os.cpu_count() or 1))

    async def _episode(self, episode: Episode) -> None:
        await asyncio.sleep(max(0.0, self._began + episode.at - time.monotonic()))
        fault = self._fault(episode.kind)
        began = time.monotonic()
        effect = Effect(took=False, figure=0.0, unit="", detail="stopped before it was measured")
        undone = False
        try:
            await fault.start()
            effect = await fault.proof()
            await asyncio.sleep(max(0.0, began + episode.lasts - time.monotonic()))
        except DuendeError as error:
            effect = Effect(took=False, figure=0.0, unit="", detail=str(error))
        finally:
            # Shielded: the fault is undone also where the one who stops the chaos does not wait.
            undone = await asyncio.shield(fault.undo())
            lasted = time.monotonic() - began
            self._records.append(
                FaultRecord(
                    kind=episode.kind, at=began - self._began, lasted=lasted, effect=effect, undone=undone
                )
            )

    def _report(self) -> ChaosReport:
        tally: dict[str, Draws] = dict(self._dice.tally)
        return ChaosReport(
            seed=self.config.seed,
            lasted=self._lasted,
            planned=len(self.episodes),
            faults=tuple(sorted(self._records, key=lambda each: each.at)),
            draws=tally,
            proxy=self.proxy.seen if self.proxy is not None else None,
            restarts=getattr(self._target, "restarts", None),
        )


async def _recovery(operation: Operation, pause: float, timeout: float, within: float) -> float | None:
    """Seconds until the first of `RECOVERED` operations in a row that worked, or None."""
    began = time.monotonic()
    streak, first = 0, 0.0
    one = LoadTestConfig(users=1, ramp=0.0, duration=timeout, requests_per_user=1, timeout=timeout)
    while time.monotonic() - began < within:
        sent = time.monotonic()
        worked = (await LoadTester(one, operation).run()).errors == 0
        if worked and streak == 0:
            first = time.monotonic() - began
        streak = streak + 1 if worked else 0
        if streak >= RECOVERED:
            return first
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - sent)))
    return None
