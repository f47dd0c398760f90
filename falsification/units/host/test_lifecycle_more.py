"""The life cycle around reloads, pauses, watchdog and guests."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from duende import (
    DaemonConfig,
    DaemonContext,
    ExitReason,
    HealthCheckError,
    Signal,
    StateError,
)
from duende.host import exitcodes, lifecycle, run_async
from duende.host.lifecycle import Host, Outcome
from duende.host.notify import Notifier
from duende.metrics import DaemonMetrics
from duende.testing import InProcessHarness, ManualClock, inprocess
from falsification.units.host.test_lifecycle import Scripted, forever, giving, raising
from falsification.units.support import Obedient, config, run


def test_readiness_may_be_announced_by_run() -> None:
    """A class that announces readiness itself is ready when it says so, not before."""

    class Late(Obedient):
        announces_ready = True

        async def run(self, ctx: DaemonContext) -> ExitReason:
            ctx.status("warming up")
            ctx.ready()
            return await super().run(ctx)

    async def live() -> list[str]:
        async with InProcessHarness(Late()) as found:
            pass
        return found.announced

    assert run(live()) == ["STATUS=warming up", "READY=1", "STOPPING=1"]


@pytest.mark.parametrize("beat_first", [False, True])
def test_cont_measures_the_pause(beat_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """F107: after CONT the gap in the beat of the loop is taken out of the uptime, once, in either order of the two."""
    clock = ManualClock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    daemon = Scripted()
    daemon._metrics = DaemonMetrics(clock)
    host = Host(daemon, config(), notifier=Notifier(None), handle_signals=False)
    host.receive(Signal.CONT)
    host._last_beat = clock.monotonic()
    clock.advance(lifecycle.BEAT)
    host.receive(Signal.CONT)
    assert daemon.metrics.snapshot().paused_secs == 0
    clock.advance(10)
    if beat_first:
        monkeypatch.setattr(asyncio, "sleep", raising(KeyError("one beat is enough")))
        with pytest.raises(KeyError):
            asyncio.run(host._beats(None))
    host.receive(Signal.CONT)
    host.receive(Signal.CONT)
    assert daemon.metrics.snapshot().paused_secs == pytest.approx(10, abs=lifecycle.BEAT)
    assert daemon.metrics.uptime == pytest.approx(lifecycle.BEAT, abs=lifecycle.BEAT)


def test_a_hup_during_a_reload_reloads_again() -> None:
    """The file may have changed after it was read, so a HUP in the midst of a reload is not swallowed."""
    seen: list[DaemonConfig] = []

    async def live() -> None:
        async def slow(fresh: DaemonConfig) -> None:
            seen.append(fresh)
            if len(seen) == 1:
                found.send(Signal.HUP, Signal.HUP)
                await asyncio.sleep(0)

        async with InProcessHarness(Scripted(reload=slow)) as found:
            found.send(Signal.HUP)
            while found.announced.count("STATUS=reloaded") < 2:
                await asyncio.sleep(0)

    run(live())
    assert len(seen) == 2


def test_the_watchdog_beats_with_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """S035: WATCHDOG=1 comes at half the interval asked for, as long as the loop runs."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000")

    async def live() -> list[str]:
        async with InProcessHarness(Scripted()) as found:
            while found.announced.count("WATCHDOG=1") < 3:
                await asyncio.sleep(0)
        return found.announced

    assert run(live()).count("WATCHDOG=1") >= 3


def test_real_signals_reach_a_guest_and_are_given_back() -> None:
    """run_async handles the process's signals while it runs, and leaves the handlers as it found them."""
    import signal

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    seen: list[Signal] = []

    async def work(ctx: DaemonContext) -> ExitReason:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            os.kill(os.getpid(), number)
        seen.extend([one async for one in ctx.signals()])
        return ExitReason.by_signal(Signal.TERM)

    outcome = run(run_async(Scripted(run=work)))
    assert outcome.code == exitcodes.SIGNAL_BASE + 15
    assert seen == [Signal.USR1, Signal.USR2, Signal.TERM]
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_host_outside_the_main_thread_leaves_signals_alone() -> None:
    """In a worker thread signals are the caller's business, and the daemon runs all the same."""

    async def live() -> Outcome:
        return await asyncio.to_thread(asyncio.run, run_async(Scripted(run=giving(None))))

    assert run(live()).code == exitcodes.OK


def test_names_are_filled_in() -> None:
    """A daemon without a name has that of its configuration, or of its class."""

    class Nameless(Obedient):
        name = ""

    assert Host.of(Nameless, config(name="given"), notifier=Notifier(None)).daemon.name == "given"
    assert Host.of(Nameless(), notifier=Notifier(None)).config.name == "nameless"


def test_the_harness_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness is used once, after its start, and says so when a daemon never becomes ready."""
    monkeypatch.setattr(inprocess, "START_TIMEOUT", 0.02)

    async def live() -> None:
        found = InProcessHarness(Scripted(init=forever))
        for use in (lambda: found.daemon, lambda: found.context, lambda: found.send(Signal.HUP)):
            with pytest.raises(StateError, match="not started"):
                use()
        with pytest.raises(HealthCheckError, match="neither ready nor ended"):
            await found.start()
        with pytest.raises(StateError, match="twice"):
            await found.start()
        assert found.ended
        async with InProcessHarness(Scripted()) as other:
            with pytest.raises(TimeoutError):
                await other.wait(0.01)

    run(live())
