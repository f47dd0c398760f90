"""S038: a blocked event loop, an exit, and a late signal."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios.checks import faults, latency, restarts, states
from scenarios.faults.loop import BlockedLoop
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon

DAEMONS = ("quick-a", "quick-b", "quick-c")
LIFE = 0.5
BLOCK = 2.0
"""Seconds; each daemon ends long before the loop can see it."""


class BlockedManager(Workload):
    """Daemons that end with 0 while the manager's loop is blocked, and a TERM right after."""

    async def run(self, lab: Lab) -> None:
        """Block, then signal before anything else."""
        await lab.manager()
        policy = {"policy": "on-failure", "initial_delay": 0.05}
        for name in DAEMONS:
            await lab.register(daemon(name, command("flapping", 0, LIFE), restart=policy))
            await lab.start(name)
            await lab.nemesis.strike(BlockedLoop(BLOCK))
            await lab.signal(name, "TERM")
            await lab.until_event(name, "exited", 5.0)
        await asyncio.sleep(0.5)
        for name in DAEMONS:
            await lab.status(name)


SCENARIO = Scenario(
    id="S038",
    title="the event loop is blocked 2 s, the child exits 0, then a signal is sent",
    invariant="the exit is recorded as 0, and there is no restart",
    seen_in="cpython#87744",
    workload=BlockedManager,
    checks=(
        faults.took_effect("blocked-loop"),
        *(restarts.exit_recorded(name, 0) for name in DAEMONS),
        *(states.ends_as(name, "Stopped") for name in DAEMONS),
        latency.only_expected_errors("SignalError", "InstanceNotFoundError"),
    ),
)
