"""S037: a daemon dies owning a block device that it serves."""

from __future__ import annotations

from scenarios.checks import deaths, states, stops
from scenarios.scenario import Scenario
from scenarios.workloads.blockdevices import NAMES, WITHIN, Deaths

SCENARIO = Scenario(
    id="S037",
    title="a daemon dies owning a ublk device: idle, with requests in flight, half-way through setting it up; two cleaners race",
    invariant="the device is recovered or deleted; nobody hangs in D state",
    seen_in="longhorn#10738",
    workload=Deaths,
    adapters=("pepita",),
    checks=(
        deaths.recovered_or_deleted(NAMES),
        deaths.nobody_hangs(NAMES),
        stops.stops_proven(),
        states.always_one_of_seven(),
        states.transitions_legal(),
    ),
    limit=2 * WITHIN,
    recovery=5.0,
)
