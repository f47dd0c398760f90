"""S014: the leader ends on TERM, its child does not."""

from __future__ import annotations

from fixtures.daemons import command
from scenarios.checks import answers, stops
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon

PATIENCE = 0.8
"""shutdown_timeout of the daemon, in seconds."""
EARLY = 0.1
"""Seconds by which KILL goes out before the deadline at most, so that the tree is gone by the deadline."""
TIMES = 4


class StubbornChild(Workload):
    """A leader with a child that ignores TERM, stopped again and again."""

    async def run(self, lab: Lab) -> None:
        """Start, note the tree, stop, look for survivors."""
        await lab.manager()
        line = command("forker", lab.report("leader"))
        await lab.register(daemon("leader", line, shutdown_timeout=PATIENCE))
        for number in range(TIMES):
            await lab.start("leader")
            await lab.until_reported("leader", number + 1)
            lab.observe("tree", name="leader", **lab.reported("leader")[-1])
            await lab.stop("leader")
            await lab.survivors()


SCENARIO = Scenario(
    id="S014",
    title="the leader exits on TERM, its child ignores TERM",
    invariant="stop waits for the whole tree, KILL at the deadline, the certificate names the child",
    seen_in="circus#1044, process-compose#520",
    workload=StubbornChild,
    checks=(
        stops.stops_proven(),
        stops.stops_take(PATIENCE - EARLY, PATIENCE + 2.0),
        stops.certificates_name("child"),
        stops.nothing_left(),
        answers.succeeds("start", "leader"),
    ),
)
