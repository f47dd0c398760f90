"""Chaos: a schedule that is a pure function, and a run that shows before, during and after on a real daemon."""

from __future__ import annotations

import asyncio
import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config.model import DaemonConfig, ResourceConfig
from duende.errors import ConfigError, StateError
from duende.kernel.process import read_stat
from duende.testing import ChaosConfig, ChaosInjector, ChaosReport, DaemonTestHarness
from duende.testing.chaos import Episode, schedule
from falsification.units.support import run
from falsification.units.testing.echo import Echo, ask

SHARE = st.none() | st.floats(0, 1)
CONFIGS = st.builds(
    ChaosConfig,
    seed=st.integers(),
    latency_injection=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 0.5)),
    memory_pressure=SHARE,
    cpu_stress=SHARE,
    stress_probability=st.floats(0, 1),
    duration=st.floats(0.1, 50),
    interval=st.floats(0.5, 5),
)


@given(CONFIGS, st.booleans())
def test_the_schedule_is_a_pure_function(config: ChaosConfig, pauses: bool) -> None:
    """The same configuration gives the same episodes, in order, inside the duration; one kind never overlaps itself."""
    config.check()
    episodes = schedule(config, pauses=pauses)
    assert episodes == schedule(
        msgspec.json.decode(msgspec.json.encode(config), type=ChaosConfig), pauses=pauses
    )
    assert [each.at for each in episodes] == sorted(each.at for each in episodes)
    for kind in ("pause", "memory", "cpu"):
        mine = [each for each in episodes if each.kind == kind]
        for one, two in itertools.pairwise(mine):
            assert one.at + one.lasts <= two.at + 1e-9
        assert all(0 <= each.at < config.duration and each.lasts >= 0 for each in mine)
    if not pauses:
        assert not [each for each in episodes if each.kind == "pause"]


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_intervals_fire_as_often_as_they_should(probability: float) -> None:
    """Over 10 000 intervals with a fixed seed, pauses and stress are within five standard deviations of p."""
    config = ChaosConfig(
        seed=42,
        latency_injection=(probability, 0.1),
        cpu_stress=0.5,
        stress_probability=probability,
        duration=10_000.0,
    )
    episodes = schedule(config, pauses=True)
    pauses = sum(each.kind == "pause" for each in episodes)
    stressed = sum(each.lasts for each in episodes if each.kind == "cpu")
    bound = 5 * math.sqrt(10_000 * probability * (1 - probability))
    assert abs(pauses - 10_000 * probability) <= bound
    assert abs(stressed - 10_000 * probability) <= bound
    other = schedule(msgspec.structs.replace(config, seed=43), pauses=True)
    assert other != episodes


def test_certain_stress_is_one_episode() -> None:
    """With probability 1 the stress is on from the beginning to the end, and with 0 never."""
    config = ChaosConfig(cpu_stress=0.5, duration=10.5)
    assert schedule(config, pauses=False) == (Episode(kind="cpu", at=0.0, lasts=10.5),)
    assert schedule(msgspec.structs.replace(config, stress_probability=0.0), pauses=False) == ()


def test_the_promised_configurations() -> None:
    """latency, errors and comprehensive have the numbers of the Rust project."""
    everything = ChaosConfig.comprehensive()
    assert (everything.latency_injection, everything.error_injection, everything.packet_loss) == (
        (0.1, 0.5),
        0.05,
        0.01,
    )
    assert (everything.memory_pressure, everything.cpu_stress, everything.duration) == (0.7, 0.5, 60.0)
    assert ChaosConfig.latency().latency_injection == (0.1, 0.5)
    assert ChaosConfig.errors(0.2).error_injection == 0.2
    everything.check()


class Nobody:
    """A daemon without a process."""

    pid = 0


def test_what_cannot_be_done_is_refused() -> None:
    """Numbers without sense, faults without a port to happen at, and a second start are errors."""
    for wrong, text in (
        (ChaosConfig(error_injection=1.5), "error_injection is 1.5"),
        (ChaosConfig(latency_injection=(0.1, -1.0)), "delays by -1.0"),
        (ChaosConfig(duration=0.0), "duration is 0.0"),
        (ChaosConfig(packet_loss=0.1), "need a port"),
        (ChaosConfig(latency_injection=(0.1, 2.0)), "cannot pause for 2 s in each interval of 1 s"),
    ):
        with pytest.raises(ConfigError, match=text):
            ChaosInjector(wrong, Nobody())

    async def twice() -> None:
        chaos = ChaosInjector(ChaosConfig(duration=5.0), Nobody())
        with pytest.raises(StateError, match="no port"):
            _ = chaos.port
        async with chaos:
            assert chaos.is_active
            with pytest.raises(StateError, match="begun already"):
                await chaos.start()
        assert not chaos.is_active

    run(twice())


def test_a_fault_that_did_not_take_is_told() -> None:
    """Pausing a daemon without a process is in the report as a fault without effect, never as a success."""

    async def live() -> None:
        config = ChaosConfig(latency_injection=(1.0, 0.05), duration=0.2, interval=0.2)
        chaos = ChaosInjector(config, Nobody())
        await chaos.start()
        await chaos.wait()
        report = await chaos.stop()
        assert len(report.faults) == 1
        assert not report.took_effect
        assert "no process" in report.faults[0].effect.detail
        assert "TOOK NO EFFECT" in report.table()
        assert not ChaosReport(seed=0, lasted=1.0, planned=0).took_effect, "chaos of nothing proves nothing"

    run(live())


async def port_of(daemon: DaemonTestHarness) -> int:
    """Where the echo daemon listens, from its output."""
    return int((await daemon.wait_for_log(r"^port \d+")).split()[1])


def test_chaos_at_a_port_is_measured_before_during_and_after() -> None:
    """Resets raise the error rate of exactly the drawn operations, only during the chaos, and the daemon recovers."""

    async def live() -> None:
        async with DaemonTestHarness(Echo) as daemon:
            config = ChaosConfig(
                seed=3, error_injection=0.3, latency_injection=(0.2, 0.05), cpu_stress=0.1, duration=1.0
            )
            chaos = ChaosInjector(config, daemon, port=await port_of(daemon))
            report = await chaos.run(lambda: ask(chaos.port), rate=60.0, users=4, before=0.4, after=0.4)
            assert report.before is not None
            assert report.during is not None
            assert report.after is not None
            assert (report.before.errors, report.after.errors) == (0, 0), report.table()
            draws = report.draws["error"]
            assert report.during.operations == 60
            # On a busy machine an operation that was due during the chaos may be sent after it: those, and no other, are not drawn.
            assert 60 - report.during.late_sends <= draws.draws <= 60
            assert report.during.errors == draws.fired > 0
            assert report.error_rate_increase == pytest.approx(draws.fired / 60)
            assert report.during.latency.p95_ms >= 45
            assert report.recovery_time is not None
            assert report.recovery_time < 5
            assert report.took_effect, report.table()
            assert report.all_undone
            assert report.restarts == 0
            assert [each.kind for each in report.faults] == ["cpu"]
            assert (await daemon.metrics()).requests_total > 50
            assert ChaosReport.from_json(report.to_json()) == report
            assert "recovered after" in report.table()

    run(live())


def test_chaos_without_a_port_pauses_and_presses() -> None:
    """A program without a port is paused and pressed; stopping early undoes what is on."""

    async def live() -> None:
        small = DaemonConfig(name="echo", resources=ResourceConfig(memory_bytes=64 << 20))
        async with DaemonTestHarness(Echo, small) as daemon:
            config = ChaosConfig(
                latency_injection=(1.0, 4.0), memory_pressure=0.25, duration=5.0, interval=5.0
            )
            chaos = ChaosInjector(config, daemon)
            await chaos.start()
            loop = asyncio.get_running_loop()
            end = loop.time() + 10
            while (stat := read_stat(daemon.pid)) is None or stat.state != "T":
                assert loop.time() < end
                await asyncio.sleep(0.01)
            report = await chaos.stop()
            stat = read_stat(daemon.pid)
            assert stat is not None
            assert stat.state in ("S", "R")
            assert {each.kind for each in report.faults} >= {"pause"}
            assert report.all_undone, report.table()
            assert report.lasted < 5
            assert (await daemon.health()).is_healthy

            pressed = ChaosInjector(ChaosConfig(memory_pressure=0.25, duration=0.5), daemon)
            await pressed.start()
            await pressed.wait()
            (fault,) = (await pressed.stop()).faults
            assert fault.effect.took
            assert fault.effect.figure >= 16 << 20
            assert fault.undone

    run(live())
