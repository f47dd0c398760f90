"""S071: a stateful daemon under client load, while its job is unloaded by somebody else, and its launchd killed."""

from __future__ import annotations

from scenarios.catalog.s041 import BOUND, LOOKS, NAME, WRITES, Keeping
from scenarios.checks import faults, identity, service, states, stops
from scenarios.scenario import Scenario

AT_ONCE = ("kill", "unload")
"""Faults after which it must come back by itself; after the others once they are healed."""
BY_FAULTS = ("killed by SIGKILL", "exit not observed", "exit code 0")
"""How it ends: by the faults, of which launchd tells nothing once the job or itself is gone, and by the operator."""


SCENARIO = Scenario(
    id="S071",
    title="a stateful daemon under client load is unloaded under its manager, and its launchd is killed",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="gel-cli#847, hermes-agent#5536",
    workload=Keeping,
    adapters=("launchd",),
    breaks_runtime=True,
    checks=(
        faults.took_effect("kill", "stop", "unload", "kill-launchd"),
        service.no_acknowledged_write_lost(WRITES),
        identity.never_two_at_once(NAME, LOOKS),
        identity.one_generation_at_a_time(NAME),
        service.available_again_within(BOUND, at_once=AT_ONCE),
        service.ends_only_by(NAME, *BY_FAULTS),
        faults.recovered(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
        states.never_running_without_a_process(),
    ),
    limit=90.0,
    recovery=10.0,
)
