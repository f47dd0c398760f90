"""The same daemon under a manager: restarts, giving up, and the operator's stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duende.adapters.contract import PlatformAdapter
from duende.config.model import ReadinessConfig, ReadinessKind, RestartConfig, RestartPolicy
from duende.manager import DaemonManager
from duende.signals import Signal
from duende.states import Phase
from duende.testing.conformance.base import ConformanceBase, check

QUICK = ReadinessConfig(kind=ReadinessKind.NONE, settle=0.05)


class ManagedTests(ConformanceBase):
    """The manager knows the contract only, so each adapter must serve it."""

    @asynccontextmanager
    async def manager(self) -> AsyncIterator[tuple[DaemonManager, PlatformAdapter]]:
        """A manager over a fresh adapter."""
        adapter = await self.make_adapter()
        manager = DaemonManager(adapter=adapter)
        await manager.open()
        try:
            yield manager, adapter
        finally:
            await manager.close()

    def test_a_killed_daemon_comes_back(self) -> None:
        """KILL from outside is a failure: the policy starts it again, once, as a new instance."""

        async def body() -> None:
            async with self.manager() as (manager, adapter):
                policy = RestartConfig(policy=RestartPolicy.ON_FAILURE, initial_delay=0.1)
                name = self.fresh_name()
                manager.register(self.waiter(name=name, restart=policy, readiness=QUICK))
                await manager.start(name)
                first = manager.find(name)
                check(first is not None and first.handle is not None, "it has a handle")
                if first is None or first.handle is None:
                    return
                old = first.handle
                await adapter.kill(old)

                async def restarted() -> bool:
                    view = manager.status(name)
                    return view.restarts == 1 and view.status.phase is Phase.RUNNING

                await self.until(restarted, bool, "it runs again")
                check(first.handle != old, "as a new instance")

        self.conduct(body)

    def test_a_doomed_daemon_is_given_up(self) -> None:
        """A program that always fails is restarted as often as allowed, then Failed."""

        async def body() -> None:
            async with self.manager() as (manager, _):
                policy = RestartConfig(policy=RestartPolicy.ON_FAILURE, initial_delay=0.01, max_retries=2)
                name = self.fresh_name()
                manager.register(self.script("sleep 0.2; exit 3", name, restart=policy, readiness=QUICK))
                await manager.start(name)

                async def given_up() -> bool:
                    return any(event.kind == "gave-up" for event in manager.events)

                await self.until(given_up, bool, "it is given up")
                view = manager.status(name)
                check(view.status.phase is Phase.FAILED and view.restarts == 2, f"Failed after 2: {view}")

        self.conduct(body)

    def test_the_operators_stop_stays(self) -> None:
        """What was stopped by hand is not restarted, whatever its policy."""

        async def body() -> None:
            async with self.manager() as (manager, _):
                policy = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.01)
                name = self.fresh_name()
                manager.register(self.waiter(name=name, restart=policy, readiness=QUICK))
                await manager.start(name)
                found = await manager.stop(name)
                check(found.proven, f"proven: {found}")
                await asyncio.sleep(0.3)  # thirty times the delay after which a restart would come
                check(manager.status(name).status.phase is Phase.STOPPED, "it stays stopped")
                await manager.start(name)
                await manager.signal(name, Signal.STOP)
                check(manager.status(name).status.phase is Phase.PAUSED, "paused is said")
                await manager.signal(name, Signal.CONT)
                proofs = await manager.shutdown_all()
                check(all(each.proven for each in proofs), f"all are gone: {proofs}")

        self.conduct(body)
