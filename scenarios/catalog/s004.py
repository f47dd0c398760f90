"""S004: closed and reused descriptors."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios import look
from scenarios.checks import resources, states
from scenarios.history import observed
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.clients import not_running

DAEMONS = tuple(f"closer-{number}" for number in range(5))
WATCHED = 30.5
"""Seconds; the invariant speaks of 30."""


def running(lab: Lab) -> set[int]:
    """The pids of the daemons that the manager has told to be Running."""
    return {event.value["pid"] for event in observed(lab.history.operations, "event", kind="running")}


class ClosedStdout(Workload):
    """Daemons with captured output that close it and reuse its descriptor number."""

    async def run(self, lab: Lab) -> None:
        """Watch what the manager and its helpers use while nothing happens."""
        log = {"destination": "file"}
        driver = await lab.process([daemon(name, command("closer"), logging=log) for name in DAEMONS])
        await look.until(lambda: len(running(lab)) == len(DAEMONS), 10.0)
        daemons = running(lab)
        manager = driver.process.pid if driver.process else 0
        await look.until(lambda: all("socket" in look.target(pid, 1) for pid in daemons), 10.0)
        watched = [pid for pid in look.tree(manager) if pid not in daemons]
        lab.observe("closed", stdout=[look.target(pid, 1) for pid in daemons])
        lab.resources(watched)
        await asyncio.sleep(WATCHED)
        lab.resources(watched)
        for name in DAEMONS:
            await lab.status(name)

    async def recover(self, lab: Lab) -> str:
        """All still run."""
        return await not_running(lab, DAEMONS)


SCENARIO = Scenario(
    id="S004",
    title="the child closes stdout and its descriptor number is reused",
    invariant="the manager uses less than 2 % CPU over 30 s and polls live descriptors only",
    seen_in="supervisor#807",
    workload=ClosedStdout,
    checks=(resources.cpu_below(2.0, 30.0), states.undisturbed(*DAEMONS)),
)
