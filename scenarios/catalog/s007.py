"""S007: the wall clock jumps a year back."""

from __future__ import annotations

import asyncio

from fixtures.daemons import command
from scenarios.checks import faults, latency, restarts, stops
from scenarios.faults.clocks import JumpingClock, WallJump
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import always, daemon

DELAY = 0.4
TIMES = 3


class JumpingWall(Workload):
    """Daemons that are Starting, waiting for a restart and Stopping while the clock jumps."""

    async def run(self, lab: Lab) -> None:
        """Jump in the middle of each."""
        clock = JumpingClock()
        jump = WallJump(clock)
        await lab.manager(clock=clock)
        notify = {"kind": "notify", "timeout": 5.0}
        await lab.register(daemon("slow", command("notifier", DELAY), readiness=notify))
        retry = always(initial_delay=DELAY, multiplier=1.0, max_delay=DELAY)
        await lab.register(daemon("waiting", command("flapping", 1, 0.05), restart=retry))
        await lab.register(daemon("stubborn", command("stubborn"), shutdown_timeout=DELAY))
        await lab.start("waiting")
        for _ in range(TIMES):
            starting = asyncio.create_task(lab.start("slow", by="starter"))
            await asyncio.sleep(DELAY / 2)
            await lab.nemesis.strike(jump)
            await starting
            await lab.nemesis.heal(jump)
            await lab.start("stubborn", by="stopper")
            stopping = asyncio.create_task(lab.stop("stubborn", by="stopper"))
            await asyncio.sleep(DELAY / 2)
            await lab.nemesis.strike(jump)
            await stopping
            await asyncio.sleep(2 * DELAY)
            await lab.nemesis.heal(jump)
            await lab.stop("slow")
        await lab.stop("waiting")


SCENARIO = Scenario(
    id="S007",
    title="the wall clock jumps a year back while Starting, waiting to restart, Stopping",
    invariant="every transition is bounded by monotonic time",
    seen_in="supervisor#281",
    workload=JumpingWall,
    checks=(
        faults.took_effect("wall-clock-jump"),
        latency.takes_at_most("start", 3.0),
        latency.takes_at_most("stop", 3.0),
        restarts.follows_backoff("waiting", initial=DELAY, multiplier=1.0, cap=DELAY),
        stops.stops_proven(),
        latency.only_expected_errors(),
    ),
)
