"""Who a handle is for, in this process and in another, and what is made of its settings."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec

from duende.adapters.contract import DaemonHandle, EventKind, Found, Ownership
from duende.config.model import ResourceConfig
from duende.errors import DuendeError, PlatformConfigError
from duende.signals import Signal
from duende.states import Phase
from duende.testing.conformance.base import ConformanceBase, Events, NonconformanceError, check

LIMIT = 64 * 1024 * 1024
APPETITE = 300_000_000


class IdentityTests(ConformanceBase):
    """A number is no identity, a name is none."""

    refused: ClassVar[dict[str, Any] | None] = None
    """Fields of a configuration that this platform cannot honour at all, to see them refused; None where there are none."""

    def test_handles_survive_json(self) -> None:
        """Another adapter finds the daemon again by the handle's text."""

        async def body() -> None:
            async with self.adapter(keep=True) as adapter:
                handle = await self.launch_set(adapter, self.waiter())
                copy = DaemonHandle.from_json(handle.to_json())
                check(copy == handle, "the text holds all of it")
                async with self.adapter(other=True) as other:
                    check(await other.verify(copy) is Ownership.OURS, "another adapter knows it")
                    check((await other.status(copy)).phase is Phase.RUNNING, "and sees it run")
                await adapter.stop(handle, self.within)
                check(await adapter.verify(handle) is Ownership.GONE, "after its end it is gone")
                await self.forget(adapter, handle)

        self.conduct(body)

    def test_a_kept_daemon_is_adopted(self) -> None:
        """What one adapter kept, the next takes over: its end is reported there, with the true exit."""

        async def body() -> None:
            async with self.adapter(keep=True) as first:
                handle = await self.launch_set(first, self.waiter("trap 'exit 47' USR1; trap 'exit 0' TERM"))
            async with self.adapter(keep=True) as second:
                events = Events(second)
                check(await second.adopt(handle) is Ownership.OURS, "it is ours")
                check(await second.adopt(handle) is Ownership.OURS, "adopting twice is harmless")
                await second.signal(handle, Signal.USR1)
                event = await events.want(handle, EventKind.EXITED, self.within)
                check(event.exit is not None and event.exit.code == 47, f"its exit is told: {event.exit}")
                await second.stop(handle, 1.0)
                await self.forget(second, handle)

        self.conduct(body)

    def test_a_mixed_up_handle_reaches_nobody_else(self) -> None:
        """A handle with another daemon's instance never gets that one signalled or stopped."""

        async def body() -> None:
            async with self.adapter(keep=True) as adapter:
                mine = await self.launch_set(adapter, self.waiter(name=self.fresh_name("-a")))
                await asyncio.sleep(0.05)  # another tick of the clock that start times are counted in
                other = await self.launch_set(adapter, self.waiter(name=self.fresh_name("-b")))
                mixed = msgspec.structs.replace(mine, instance=other.instance, pid=other.pid)
                async with self.adapter(other=True) as stranger:
                    try:
                        await stranger.signal(mixed, Signal.KILL)
                    except DuendeError as error:
                        check(mine.name in str(error), f"the refusal names the daemon: {error}")
                check((await adapter.status(other)).phase is Phase.RUNNING, "the other daemon is untouched")
                await adapter.stop(mine, self.within)
                await adapter.stop(other, self.within)
                await self.forget(adapter, mine)
                await self.forget(adapter, other)

        self.conduct(body)

    def test_open_files_limit_holds(self) -> None:
        """The program sees the limit it was given, and explain says the same."""

        async def body() -> None:
            async with self.adapter() as adapter:
                config = self.waiter(
                    "trap 'exit $(ulimit -n)' TERM", resources=ResourceConfig(open_files_max=77)
                )
                try:
                    handle = await self.launch_set(adapter, config)
                except PlatformConfigError as error:
                    said = str(error)
                    check("open_files_max" in said and "best_effort" in said, f"the refusal names it: {said}")
                    return
                report = {each.key: each for each in await adapter.explain(handle, config)}
                entry = report["resources.open_files_max"]
                check(entry.outcome is Found.HONOURED and entry.found == "77", f"explain says {entry}")
                found = await adapter.stop(handle, self.within)
                check(found.exit is not None and found.exit.code == 77, f"the program sees {found.exit}")

        self.conduct(body)

    def test_memory_limit_bites(self) -> None:
        """A program that wants more than its limit fails or is killed; with room enough it succeeds."""

        async def body() -> None:
            async with self.adapter() as adapter:
                hungry = f"head -c {APPETITE} /dev/zero | tail -c {APPETITE} >/dev/null && exit 0; exit 50"
                roomy = ResourceConfig(memory_bytes=4 * APPETITE, memory_swap_bytes=4 * APPETITE)
                tight = ResourceConfig(memory_bytes=LIMIT, memory_swap_bytes=LIMIT)
                try:
                    handle = await self.launch(adapter, self.script(hungry, resources=roomy))
                except PlatformConfigError as error:
                    said = str(error)
                    check("memory_bytes" in said and "best_effort" in said, f"the refusal names it: {said}")
                    return
                easy = await self.ended(adapter, handle)
                check(easy.ok, f"with room enough it succeeds: {easy}")
                handle = await self.launch(adapter, self.script(hungry, resources=tight))
                hard = await self.ended(adapter, handle)
                check(not hard.ok, f"beyond its limit it does not: {hard}")

        self.conduct(body)

    def test_every_setting_is_explained(self) -> None:
        """Each limit is honoured, approximated or ignored, with what was found or why not; each once."""

        async def body() -> None:
            async with self.adapter() as adapter:
                config = self.waiter()
                handle = await self.launch_set(adapter, config)
                report = await adapter.explain(handle, config)
                keys = [each.key for each in report]
                check(len(keys) == len(set(keys)), f"each key once: {keys}")
                for key in ("memory_bytes", "cpu_quota_percent", "pids_max", "open_files_max"):
                    check(f"resources.{key}" in keys, f"resources.{key} is explained: {keys}")
                for entry in report:
                    if entry.outcome is Found.IGNORED:
                        check(entry.why, f"{entry.key} says why it is ignored")
                    else:
                        check(entry.why, f"{entry.key} says where it was found: {entry}")
                        read = entry.found or entry.outcome is Found.APPROXIMATED
                        check(read, f"{entry.key} says what was found: {entry}")
                await adapter.stop(handle, self.within)

        self.conduct(body)

    def test_what_would_be_ignored_is_refused(self) -> None:
        """A setting that this platform cannot honour is an error that names it, and nothing runs."""

        async def body() -> None:
            if self.refused is None:
                return
            async with self.adapter() as adapter:
                events = Events(adapter)
                try:
                    await self.launch(adapter, self.waiter(**self.refused))
                except PlatformConfigError as error:
                    check("best_effort" in str(error), f"the error names the way out: {error}")
                else:
                    raise NonconformanceError(f"{self.refused} was accepted")
                check(not events.all, f"nothing ran: {events.all}")
                handle = await self.launch_set(adapter, self.waiter(best_effort=True, **self.refused))
                await adapter.stop(handle, self.within)

        self.conduct(body)
