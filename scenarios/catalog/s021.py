"""S021: the leader is killed while its child holds the pipe."""

from __future__ import annotations

import asyncio
from functools import partial

from fixtures.daemons import command
from scenarios.checks import faults, restarts, states
from scenarios.faults.processes import kill
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import always, daemon
from scenarios.workloads.clients import not_running

TIMES = 5
NAME = "leader"


class HeldPipe(Workload):
    """A leader with a child that inherited stdout; only the leader is killed."""

    async def run(self, lab: Lab) -> None:
        """Kill it and measure until the manager says that it has ended."""
        await lab.manager()
        line = command("forker", lab.report(NAME))
        log = {"destination": "file"}
        retry = always(initial_delay=0.1)
        await lab.register(daemon(NAME, line, restart=retry, logging=log, shutdown_timeout=0.5))
        await lab.start(NAME)
        for number in range(TIMES):
            if await lab.until_reported(NAME, number + 1):
                await asyncio.sleep(0.1)
                pid = int(lab.reported(NAME)[-1]["leader"])
                if await lab.nemesis.strike(kill(partial(list, [pid]))):
                    lab.observe("death", name=NAME, pid=pid, died_at=lab.history.now())
        await lab.until_reported(NAME, TIMES + 1)

    async def recover(self, lab: Lab) -> str:
        """It runs again."""
        return await not_running(lab, (NAME,))


SCENARIO = Scenario(
    id="S021",
    title="the leader is killed; its child keeps the inherited stdout open",
    invariant="the exit is seen when the leader dies, not at the end of the pipe",
    seen_in="pebble#149",
    workload=HeldPipe,
    checks=(
        faults.took_effect("kill"),
        restarts.exit_seen_within(0.5),
        restarts.restarted_at_least(NAME, TIMES),
        states.transitions_legal(),
        faults.recovered(),
    ),
)
