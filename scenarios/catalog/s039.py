"""S039: a spawn from a thread that ends."""

from __future__ import annotations

import asyncio
import threading

from duende.manager import DaemonManager
from fixtures.daemons import command
from scenarios import look
from scenarios.checks import identity, latency, states, stops
from scenarios.drivers import InProcess, decode
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon

NAME = "orphaned"
WATCHED = 2.5
STEP = 0.25


class SpawnedInThread(Workload):
    """A manager in a worker thread with a loop of its own starts a daemon; loop and thread end, the daemon is
    to be kept.
    """

    async def run(self, lab: Lab) -> None:
        """Start in the thread, join it, watch; then adopt and stop."""
        table = lab.marked(daemon(NAME, command("obedient")))
        pids: list[int] = []
        thread = threading.Thread(target=lambda: pids.append(asyncio.run(self._start(lab, table))))
        thread.start()
        await asyncio.to_thread(thread.join)
        ended = lab.history.now()
        pid = pids[0] if pids else 0
        while lab.history.now() - ended < WATCHED:
            await asyncio.sleep(STEP)
            lab.observe("alive", name=NAME, pid=pid, alive=look.alive(pid), after=lab.history.now() - ended)
        driver = await lab.manager()
        await lab.register(daemon(NAME, command("obedient")))
        await self._adopt(lab, driver)
        await lab.status(NAME)
        await lab.stop(NAME)
        await lab.survivors()

    @staticmethod
    async def _start(lab: Lab, table: dict[str, object]) -> int:
        state, run = str(lab.folder / "state"), str(lab.folder / "run")
        async with DaemonManager(state_dir=state, runtime_dir=run, keep=True) as manager:
            manager.register(decode(table))
            return (await manager.start(NAME)).pid

    @staticmethod
    async def _adopt(lab: Lab, driver: InProcess) -> None:
        lab.observe("adopted", names=await driver.manager.resume())


SCENARIO = Scenario(
    id="S039",
    title="a spawn from a worker thread that then ends",
    invariant="the daemon lives",
    seen_in="bubblewrap#692",
    workload=SpawnedInThread,
    checks=(
        identity.lives_on(NAME, 2.0),
        states.undisturbed(NAME),
        stops.stops_proven(),
        stops.nothing_left(),
        latency.only_expected_errors(),
    ),
)
