"""S022: restart while the old tree is still ending."""

from __future__ import annotations

import asyncio
from typing import Any

from fixtures.daemons import command
from scenarios.checks import answers, identity, states
from scenarios.lab import Lab
from scenarios.look import outside, until
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.observers import Generation

NAME = "slow-to-go"
STAY = 0.25
"""Seconds the leader takes to end after TERM."""
LINGER = 0.4
"""Seconds the child lives on after the leader, where the leader's end is not the end of all (in a container it is)."""
TIMES = 5
LOOK_EVERY, WITHIN = 0.01, 10.0


class Overlap(Workload):
    """A daemon whose leader takes its time to go, and its child some more, restarted again and again."""

    async def run(self, lab: Lab) -> None:
        """Restart, also twice at once, and follow every process of every generation."""
        await lab.manager()
        line = command("forker", lab.report(NAME), LINGER, STAY)
        await lab.register(daemon(NAME, line, shutdown_timeout=5.0))
        generations: list[Generation] = []
        following = asyncio.create_task(self._follow(lab, generations))
        try:
            await lab.start(NAME)
            for number in range(TIMES):
                await self._followed(lab, generations)
                if number % 2:
                    await asyncio.gather(lab.restart(NAME, by="one"), lab.restart(NAME, by="two"))
                else:
                    await lab.restart(NAME)
            await self._followed(lab, generations)
            await lab.stop(NAME)
        finally:
            following.cancel()
        for generation in generations:
            await generation.note(5.0)

    @staticmethod
    async def _followed(lab: Lab, generations: list[Generation]) -> None:
        """Wait until the process that the manager tells of is one of those that are followed."""
        view = await lab.status(NAME)
        pid = view["pid"] if view else 0
        await until(lambda: any(generation.pid == pid for generation in generations), WITHIN)

    @staticmethod
    async def _follow(lab: Lab, generations: list[Generation]) -> None:
        """Take up the generations as they come: a restart that meets another may end one as soon as it is there."""
        while True:
            for line in leaders(lab)[len(generations) :]:
                began = lab.history.since_start(line["at"])
                pids = [outside(line[which], line["space"]) for which in ("leader", "child")]
                generations.append(Generation(lab, NAME, pids, began))
            await asyncio.sleep(LOOK_EVERY)


def leaders(lab: Lab) -> list[dict[str, Any]]:
    """What the leaders reported."""
    return [line for line in lab.reported(NAME) if "leader" in line]


SCENARIO = Scenario(
    id="S022",
    title="restart while the old process is still ending",
    invariant="the new one starts only when the old tree is empty",
    seen_in="pebble#93",
    workload=Overlap,
    adapters=("native", "systemd", "docker", "podman"),
    checks=(
        identity.still_ending(NAME, STAY, TIMES),
        identity.one_generation_at_a_time(NAME),
        answers.succeeds("start", NAME),
        states.always_one_of_seven(),
        states.transitions_legal(),
    ),
)
