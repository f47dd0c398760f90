"""Signals, pauses, and stops with their proof."""

from __future__ import annotations

import asyncio
import time

from duende.adapters.contract import SupportsLogs, SupportsPause
from duende.errors import DuendeError, InstanceNotFoundError
from duende.signals import Signal
from duende.states import Phase
from duende.testing.conformance.base import ConformanceBase, NonconformanceError, check


class EndingTests(ConformanceBase):
    """What is sent arrives, and what is stopped is gone."""

    def test_signals_reach_the_main_process(self) -> None:
        """Each signal arrives as itself."""

        async def body() -> None:
            async with self.adapter() as adapter:
                wanted = {Signal.USR1: 41, Signal.USR2: 42, Signal.HUP: 43, Signal.INT: 44, Signal.TERM: 45}
                traps = "; ".join(f"trap 'exit {code}' {each.value}" for each, code in wanted.items())
                for signal, code in wanted.items():
                    handle = await self.launch_set(adapter, self.waiter(traps))
                    await adapter.signal(handle, signal)
                    seen = await self.ended(adapter, handle)
                    check(seen.code == code, f"{signal.value} arrived as {seen}")

        self.conduct(body)

    def test_kill_is_told_as_a_signal(self) -> None:
        """KILL ends it at once, and is no exit code."""

        async def body() -> None:
            async with self.adapter() as adapter:
                handle = await self.launch_set(adapter, self.waiter())
                await adapter.kill(handle)
                seen = await self.ended(adapter, handle)
                check((seen.code, seen.signal) == (None, 9), f"KILL is told as {seen}")
                check((await adapter.status(handle)).phase is Phase.FAILED, "it is Failed")

        self.conduct(body)

    def test_nobody_gets_a_signal_after_the_end(self) -> None:
        """Signalling what has ended is an error that says so."""

        async def body() -> None:
            async with self.adapter() as adapter:
                handle = await self.launch(adapter, self.script("sleep 0.2"))
                await self.ended(adapter, handle)
                try:
                    await adapter.signal(handle, Signal.TERM)
                except InstanceNotFoundError as error:
                    check(handle.name in str(error), f"it names the daemon: {error}")
                else:
                    raise NonconformanceError("a signal was sent to what has ended")

        self.conduct(body)

    def test_pause_and_resume(self) -> None:
        """A paused daemon says so, does nothing, and goes on; it can be stopped while paused."""

        async def body() -> None:
            async with self.adapter() as adapter:
                if not adapter.capabilities.pause:
                    check(not isinstance(adapter, SupportsPause), "what cannot pause has no verb for it")
                    return
                handle = await self.launch_set(adapter, self.waiter())
                await adapter.signal(handle, Signal.STOP)
                await self.phase(adapter, handle, Phase.PAUSED)
                await adapter.signal(handle, Signal.CONT)
                await self.phase(adapter, handle, Phase.RUNNING)
                await adapter.signal(handle, Signal.STOP)
                await self.phase(adapter, handle, Phase.PAUSED)
                found = await adapter.stop(handle, self.within)
                check(
                    found.proven and not found.escalated, f"TERM reaches it although it was paused: {found}"
                )

        self.conduct(body)

    def test_obedient_stop(self) -> None:
        """TERM, its own exit, and the proof; stopping again is harmless."""

        async def body() -> None:
            async with self.adapter() as adapter:
                handle = await self.launch_set(adapter, self.waiter("trap 'exit 6' TERM"))
                found = await adapter.stop(handle, self.within)
                check(found.proven and found.proof, f"proven: {found}")
                check(not found.escalated, "without KILL")
                check(any("TERM" in step.what for step in found.steps), f"the steps say TERM: {found.steps}")
                check(found.exit is not None and found.exit.code == 6, f"its own exit: {found.exit}")
                check((await adapter.status(handle)).is_terminal, "it is over")
                again = await adapter.stop(handle, 1.0)
                check(again.proven, f"stopping twice is harmless: {again}")

        self.conduct(body)

    def test_stubborn_stop(self) -> None:
        """What ignores TERM gets KILL at its deadline, not before."""

        async def body() -> None:
            async with self.adapter() as adapter:
                handle = await self.launch_set(adapter, self.waiter("trap '' TERM"))
                began = time.monotonic()
                found = await adapter.stop(handle, 1.0)
                took = time.monotonic() - began
                check(found.proven and found.escalated, f"KILL was needed, and it is gone: {found}")
                check(0.85 <= took <= 1.0 + self.within, f"the deadline was respected: {took:.2f} s")
                check(found.exit is not None and found.exit.signal == 9, f"it died of KILL: {found.exit}")

        self.conduct(body)

    def test_nothing_of_it_is_left(self) -> None:
        """A child in a session of its own that ignores TERM is gone after the stop as well."""

        async def body() -> None:
            async with self.adapter() as adapter:
                child = "trap '' TERM HUP; while :; do echo beat; sleep 0.05; done"
                text = f"(setsid {self.shell} -c \"{child}\" &) ; trap 'exit 0' TERM; echo set; while :; do sleep 0.05; done"
                handle = await self.launch_set(adapter, self.script(text))
                await self.logged(adapter, handle, "beat")
                found = await adapter.stop(handle, 1.0)
                check(found.proven, f"proven: {found}")
                if isinstance(adapter, SupportsLogs):
                    lines = await adapter.logs(handle, 10_000)
                    await asyncio.sleep(0.3)
                    later = await adapter.logs(handle, 10_000)
                    check(len(lines) == len(later), "the child beats no more")

        self.conduct(body)

    def test_stops_side_by_side(self) -> None:
        """Two stops of one daemon agree."""

        async def body() -> None:
            async with self.adapter() as adapter:
                handle = await self.launch_set(adapter, self.waiter())
                found = await asyncio.gather(adapter.stop(handle, 10.0), adapter.stop(handle, 10.0))
                check(all(each.proven for each in found), f"both are proven: {found}")

        self.conduct(body)

    def test_end_while_starting_is_seen(self) -> None:
        """A program that ends at once is told by its exit, or refused with it; never lost."""

        async def body() -> None:
            async with self.adapter() as adapter:
                for _ in range(5):
                    try:
                        handle = await self.launch(adapter, self.script("exit 9"))
                    except DuendeError as error:
                        check("9" in str(error), f"the refusal says how it ended: {error}")
                        continue
                    check((await self.ended(adapter, handle)).code == 9, "its exit is told")

        self.conduct(body)
