"""What a daemon sees: signals never lost, shutdown known at once, sleeps that wake."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende import Daemon, DaemonContext, ExitReason, HealthStatus, Signal
from falsification.units.support import Obedient, config, run

SIGNALS = st.lists(st.sampled_from([s for s in Signal if s not in (Signal.KILL, Signal.STOP)]), max_size=200)


@given(SIGNALS)
def test_no_signal_is_lost_and_order_is_kept(sent: list[Signal]) -> None:
    """However many arrive before the daemon looks, it reads them all, in order; shutdown is known without
    looking.
    """
    ctx = DaemonContext(config())
    for signal in sent:
        ctx.deliver(signal)
    assert ctx.should_shutdown() == any(signal.is_shutdown for signal in sent)
    assert ctx.pending_signals == len(sent)
    assert [ctx.try_recv_signal() for _ in sent] == sent
    assert ctx.try_recv_signal() is None


def test_a_hundred_thousand_signals_are_kept() -> None:
    """The queue has no bound a sender could hit."""
    ctx = DaemonContext(config())
    for _ in range(100_000):
        ctx.deliver(Signal.USR1)
    assert ctx.pending_signals == 100_000
    assert not ctx.should_shutdown()


@given(SIGNALS)
def test_iteration_ends_after_shutdown_with_everything_read(sent: list[Signal]) -> None:
    """ctx.signals() yields every signal and ends once shutdown was asked for."""

    async def read() -> list[Signal]:
        ctx = DaemonContext(config())
        for signal in sent:
            ctx.deliver(signal)
        asyncio.get_running_loop().call_soon(ctx.request_shutdown)
        return [signal async for signal in ctx.signals()]

    assert run(read()) == sent


def test_waiting_readers_each_get_one() -> None:
    """Several readers share the signals without losing or doubling any."""

    async def read() -> list[Signal]:
        ctx = DaemonContext(config())
        readers = [asyncio.ensure_future(ctx.recv_signal()) for _ in range(3)]
        await asyncio.sleep(0)
        for signal in (Signal.HUP, Signal.USR1, Signal.USR2):
            ctx.deliver(signal)
        return await asyncio.gather(*readers)

    assert sorted(signal.value for signal in run(read())) == ["HUP", "USR1", "USR2"]


@pytest.mark.parametrize("signal", [Signal.TERM, Signal.INT, Signal.QUIT])
def test_sleep_wakes_at_once_on_shutdown(signal: Signal) -> None:
    """A sleep of an hour ends with the signal and says so; later sleeps do not begin."""

    async def sleep() -> tuple[bool, bool]:
        ctx = DaemonContext(config())
        asyncio.get_running_loop().call_soon(ctx.deliver, signal)
        return await ctx.sleep(3600), await ctx.sleep(3600)

    assert run(sleep()) == (True, True)


def test_sleep_goes_on_through_other_signals() -> None:
    """Signals that are no shutdown do not cut a sleep short; a sleep that is over says no."""

    async def sleep() -> tuple[bool, float]:
        ctx = DaemonContext(config())
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(3):
            loop.call_later(number * 0.005, ctx.deliver, Signal.USR1)
        await ctx.sleep(0)
        return await ctx.sleep(0.03), loop.time() - began

    ended, took = run(sleep())
    assert not ended
    assert took >= 0.029


def test_shutdown_from_another_thread_wakes_the_loop() -> None:
    """request_shutdown may come from any thread."""

    async def wait() -> bool:
        ctx = DaemonContext(config())
        waiter = asyncio.ensure_future(ctx.wait_shutdown())
        await asyncio.sleep(0)
        thread = threading.Thread(target=ctx.request_shutdown)
        thread.start()
        await waiter
        thread.join()
        await ctx.wait_shutdown()
        return ctx.should_shutdown()

    assert run(wait())


def test_work_until_shutdown() -> None:
    """Work that finishes gives its result; work that shutdown overtakes is cancelled."""

    async def both() -> tuple[object, object, bool]:
        ctx = DaemonContext(config())

        async def quick() -> int:
            return 7

        first = await ctx.until_shutdown(quick())
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(ctx.request_shutdown)
        return first, await ctx.until_shutdown(never), never.cancelled()

    assert run(both()) == (7, None, True)


def test_announcements_are_single_lines() -> None:
    """Ready and status say one assignment each; without a host they say nothing and do no harm."""
    said: list[str] = []
    ctx = DaemonContext(config(), said.append)
    ctx.ready()
    ctx.status("two\nlines")
    assert said == ["READY=1", "STATUS=two lines"]
    DaemonContext(config()).ready()


def test_defaults_of_a_daemon() -> None:
    """Only run has to be written; ids and metrics are each daemon's own."""

    async def defaults(daemon: Daemon) -> HealthStatus:
        await daemon.init(config())
        await daemon.reload(config())
        await daemon.shutdown(1.0)
        return await daemon.health_check()

    one, other = Obedient(), Obedient()
    assert run(defaults(one)).is_healthy
    assert one.id == one.id != other.id
    assert one.metrics is one.metrics is not other.metrics
    with pytest.raises(TypeError, match="abstract"):
        Daemon()  # type: ignore[abstract]


def test_a_daemon_runs_without_a_host() -> None:
    """A unit test may call run with a context of its own."""

    async def live() -> ExitReason | None:
        ctx = DaemonContext(config())
        ctx.request_shutdown()
        return await Obedient().run(ctx)

    assert run(live()) == ExitReason.graceful()
