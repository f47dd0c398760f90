"""S024: TERM to the manager within a second of its start."""

from __future__ import annotations

from fixtures.daemons import command
from scenarios.checks import answers, latency, stops
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.lives import interrupted

COUNT = 20
LIVES = 6


class InterruptedStarting(Workload):
    """Daemons that stay in Starting; the manager is told to end at random moments of its first second."""

    async def run(self, lab: Lab) -> None:
        """Several lives; half of them with everything started, half at any moment, perhaps before anything
        is.
        """
        source = lab.rng("moment")
        patient = {"kind": "notify", "timeout": 60.0}
        tables = [
            daemon(f"waiting-{number}", command("notifier", "never"), readiness=patient)
            for number in range(COUNT)
        ]
        for number in range(LIVES):
            present = COUNT if number % 2 else 0
            await interrupted(lab, tables, present=present, delay=source.uniform(0.15, 0.9))


SCENARIO = Scenario(
    id="S024",
    title="SIGTERM to the manager within 1 s of starting",
    invariant="daemons in Starting are stopped too",
    seen_in="pebble#502",
    workload=InterruptedStarting,
    checks=(answers.interrupted(), stops.nothing_left(), latency.takes_at_most("terminate", 20.0)),
    limit=120.0,
)
