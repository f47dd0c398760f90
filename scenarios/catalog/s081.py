"""S081: memory runs out over a swap device that a daemon serves (DT-007, the claim that this project comes from)."""

from __future__ import annotations

from scenarios.checks import states, stops, swapping
from scenarios.pictures import swap
from scenarios.scenario import Scenario
from scenarios.workloads.swapping import STALL, WITHIN, Swapping

SWAPPED = 64
"""MiB in swap below which the locked half says nothing."""

SCENARIO = Scenario(
    id="S081",
    title="memory runs out over a swap device that a daemon serves: with its memory locked, and without (DT-007)",
    invariant="without the lock the guest deadlocks, and that is recognised; with it the same load completes",
    seen_in="zfs#7734, nbd#129",
    workload=Swapping,
    adapters=("pepita",),
    checks=(
        swapping.same_load("unlocked", "locked"),
        swapping.deadlocks("unlocked", STALL),
        swapping.completes("locked", SWAPPED),
        stops.stops_proven(),
        states.always_one_of_seven(),
        states.transitions_legal(),
    ),
    draw=swap.draw,
    limit=3 * WITHIN,
    recovery=5.0,
)
