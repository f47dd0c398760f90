"""S018: the operator stops a flapping daemon."""

from __future__ import annotations

import asyncio
from functools import partial

from fixtures.daemons import command
from scenarios.checks import answers, latency, restarts, states, stops
from scenarios.history import observed
from scenarios.lab import Lab
from scenarios.look import until
from scenarios.scenario import Scenario, Workload
from scenarios.tables import always, daemon

NAME = "flapper"
LIFE = 0.1
"""Seconds between its start and its crash."""
DELAY = 0.25
"""Seconds between its crash and its next start: the same each time, so that a stop can be aimed at it."""
QUIET = 3 * DELAY
"""Seconds after a stop in which a restart that was planned would have come."""
ROUNDS = 6
WITHIN = 10.0


class Unwelcome(Workload):
    """Start it, let it flap, stop it, and see whether it stays stopped; again and again, at other moments."""

    async def run(self, lab: Lab) -> None:
        """Half of the stops come between two lives, half at any moment, some of these from two operators at once."""
        await lab.manager()
        policy = always(initial_delay=DELAY, multiplier=1.0, max_delay=DELAY)
        await lab.register(daemon(NAME, command("flapping", 1, LIFE), restart=policy, shutdown_timeout=2.0))
        chance = lab.rng("operator")
        for number in range(ROUNDS):
            before = planned(lab)
            await lab.start(NAME)
            if number % 2:
                await asyncio.sleep(chance.uniform(0, 2 * (LIFE + DELAY)))
                await asyncio.gather(*(lab.stop(NAME, by=each) for each in ("one", "two")[: 1 + number // 3]))
            else:
                flaps = before + 1 + chance.randrange(2)
                await until(partial(flapped, lab, flaps), WITHIN, step=0.005)
                await asyncio.sleep(chance.uniform(0, DELAY / 2))
                await lab.stop(NAME)
            await asyncio.sleep(QUIET)
            await lab.status(NAME)
            await lab.survivors()


def planned(lab: Lab) -> int:
    """How often a restart was planned so far."""
    return len(observed(lab.history.operations, "event", name=NAME, kind="restarting"))


def flapped(lab: Lab, times: int) -> bool:
    """Whether that many restarts were planned."""
    return planned(lab) >= times


SCENARIO = Scenario(
    id="S018",
    title="the operator stops a flapping daemon",
    invariant="the restart logic never revives it",
    seen_in="circus#809",
    workload=Unwelcome,
    adapters=("native", "systemd", "docker", "podman"),
    checks=(
        stops.between_lives(NAME, 2),
        stops.stays_stopped(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.ends_as(NAME, "Stopped"),
        states.always_one_of_seven(),
        states.transitions_legal(),
        restarts.restarted_at_least(NAME, ROUNDS),
        answers.succeeds("register", NAME),
        latency.only_expected_errors("StateError"),
    ),
)
