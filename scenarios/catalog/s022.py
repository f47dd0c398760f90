"""S022: restart while the old tree is still ending."""

from __future__ import annotations

import asyncio
from typing import Any

from fixtures.daemons import command
from scenarios import look
from scenarios.checks import answers, identity, states
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.observers import Generation

NAME = "slow-to-go"
LINGER = 0.4
"""Seconds the child lives on after the leader."""
TIMES = 5


class Overlap(Workload):
    """A daemon whose leader goes at once and whose child takes its time, restarted again and again."""

    async def run(self, lab: Lab) -> None:
        """Restart, also twice at once, and follow every process of every generation."""
        await lab.manager()
        await lab.register(daemon(NAME, command("forker", lab.report(NAME), LINGER), shutdown_timeout=5.0))
        await lab.start(NAME)
        generations: list[Generation] = []
        for number in range(TIMES):
            await self._follow(lab, generations)
            if number % 2:
                await asyncio.gather(
                    lab.restart(NAME, by="one"), lab.restart(NAME, by="two"), return_exceptions=True
                )
            else:
                await lab.restart(NAME)
        await self._follow(lab, generations)
        await lab.stop(NAME)
        for generation in generations:
            await generation.note(5.0)

    @staticmethod
    async def _follow(lab: Lab, generations: list[Generation]) -> None:
        """Take up the generations that have come since."""
        await look.until(lambda: len(Overlap.leaders(lab)) > len(generations), 10.0)
        for line in Overlap.leaders(lab)[len(generations) :]:
            began = lab.history.since_start(line["at"])
            generations.append(Generation(lab, NAME, [line["leader"], line["child"]], began))

    @staticmethod
    def leaders(lab: Lab) -> list[dict[str, Any]]:
        """What the leaders reported."""
        return [line for line in lab.reported(NAME) if "leader" in line]


SCENARIO = Scenario(
    id="S022",
    title="restart while the old process is still ending",
    invariant="the new one starts only when the old tree is empty",
    seen_in="pebble#93",
    workload=Overlap,
    checks=(
        identity.one_generation_at_a_time(NAME),
        answers.succeeds("start", NAME),
        states.always_one_of_seven(),
        states.transitions_legal(),
    ),
)
