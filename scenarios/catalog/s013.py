"""S013: TERM to the manager while it starts two hundred daemons."""

from __future__ import annotations

from fixtures.daemons import command
from scenarios.checks import answers, latency, stops
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.lives import interrupted

COUNT = 200
LIVES = 4


class InterruptedFleet(Workload):
    """A fleet of two hundred, interrupted when a random part of it has started."""

    async def run(self, lab: Lab) -> None:
        """Several lives of the manager on the same folders."""
        source = lab.rng("moment")
        tables = [daemon(f"member-{number}", command("obedient")) for number in range(COUNT)]
        for _ in range(LIVES):
            await interrupted(lab, tables, present=source.randrange(1, COUNT // 2), delay=0.0)


SCENARIO = Scenario(
    id="S013",
    title="SIGTERM to the manager during the start of 200",
    invariant="no survivor; stopping interrupts starting",
    seen_in="circus#998",
    workload=InterruptedFleet,
    checks=(answers.interrupted(COUNT), stops.nothing_left(), latency.takes_at_most("terminate", 20.0)),
    limit=120.0,
)
