"""S008: a crash loop without a settling time."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios.checks import restarts, states
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon

LIMIT = 7
LATER = 0.5
"""Seconds after giving up in which nothing may start."""


class CrashLoop(Workload):
    """One daemon that ends with 1 at once, Running as soon as it is alive."""

    async def run(self, lab: Lab) -> None:
        """Start it and wait until the manager gives up, and a little longer."""
        await lab.manager()
        policy = {"policy": "on-failure", "initial_delay": 0.02, "max_delay": 0.1, "max_retries": LIMIT}
        await lab.register(daemon("doomed", command("flapping", 1), restart=policy))
        await lab.start("doomed")
        lab.observe("waited", gave_up=await lab.until_event("doomed", "gave-up"))
        await asyncio.sleep(LATER)
        await lab.status("doomed")


SCENARIO = Scenario(
    id="S008",
    title="a crash loop of a daemon with no settling time",
    invariant='the restart limit is reached; "gave up" is an event and a state',
    seen_in="supervisor#1285",
    workload=CrashLoop,
    checks=(
        restarts.gives_up("doomed", LIMIT),
        states.ends_as("doomed", "Failed", "gave up"),
        states.transitions_legal(),
    ),
)
