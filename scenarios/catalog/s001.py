"""S001: orphans of double forks."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios.checks import latency, resources, states, stops
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.clients import not_running
from scenarios.workloads.observers import orphan

DAEMONS = ("fork-a", "fork-b", "fork-c")
ORPHANS = 5
LIFE = 0.6
"""Seconds an orphan lives: long enough to be found and watched."""


class DoubleForks(Workload):
    """Three daemons, each with orphans that end one after the other into the supervisor."""

    async def run(self, lab: Lab) -> None:
        """Start them, watch every orphan until it is reaped."""
        await lab.manager()
        watching = []
        for name in DAEMONS:
            await lab.register(daemon(name, command("doubleforker", lab.report(name), ORPHANS, LIFE)))
            await lab.start(name)
            await lab.until_reported(name, ORPHANS)
            watching += [asyncio.create_task(orphan(lab, line["orphan"])) for line in lab.reported(name)]
        await asyncio.gather(*watching)
        await lab.views()

    async def recover(self, lab: Lab) -> str:
        """All three still run; then they are stopped."""
        wrong = await not_running(lab, DAEMONS)
        if not wrong:
            for name in DAEMONS:
                await lab.stop(name)
        return wrong


SCENARIO = Scenario(
    id="S001",
    title="a daemon double-forks; the orphan exits into a subreaper",
    invariant="the manager survives and the zombie is reaped within 1 s",
    seen_in="supervisor#936",
    workload=DoubleForks,
    checks=(
        resources.zombies_reaped_within(1.0),
        latency.only_expected_errors(),
        states.always_one_of_seven(),
        stops.stops_proven(),
    ),
)
