"""S015: a missing executable with unlimited retries."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios.checks import answers, latency, restarts, states
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import always, daemon

INITIAL, CAP = 0.05, 0.4
ASKED = 300
EVERY = 0.01


class MissingExecutable(Workload):
    """Programs that do not exist, retried for ever; the status of a healthy daemon is asked meanwhile."""

    async def run(self, lab: Lab) -> None:
        """Let them fail for some seconds and measure the answers."""
        policy = always(initial_delay=INITIAL, multiplier=2.0, max_delay=CAP)
        nowhere = str(lab.folder / "nowhere" / "program")
        tables = [daemon(f"missing-{number}", [nowhere], restart=policy) for number in range(20)]
        await lab.process([*tables, daemon("fine", command("obedient"))])
        for _ in range(ASKED):
            await lab.status("fine", by="watcher")
            await asyncio.sleep(EVERY)


SCENARIO = Scenario(
    id="S015",
    title="a missing executable with unlimited retries",
    invariant="control latency p99 below 100 ms; attempts follow the backoff",
    seen_in="circus#1157",
    workload=MissingExecutable,
    checks=(
        latency.answers_within("status", q=0.99, seconds=0.1, at_least=ASKED),
        restarts.follows_backoff("missing-0", initial=INITIAL, multiplier=2.0, cap=CAP),
        restarts.follows_backoff("missing-19", initial=INITIAL, multiplier=2.0, cap=CAP),
        answers.succeeds("status", "fine"),
        states.always_one_of_seven(),
        states.never_running_without_a_process(),
    ),
)
