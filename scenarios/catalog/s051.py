"""S051: the process of a microVM is killed under a stateful daemon."""

from __future__ import annotations

from scenarios.checks import faults, identity, service, states, stops
from scenarios.faults.base import Fault
from scenarios.faults.processes import kill
from scenarios.lab import Lab
from scenarios.scenario import Scenario
from scenarios.workloads.guests import BOUND, NAME, InGuest

WRITES = 20
"""Acknowledged writes below which a run says nothing."""
LOOKS = 10
BY_FAULTS = ("exit not observed", "exit code 0")
"""How it ends: with its VM, and by the operator."""


class VmKilled(InGuest):
    """KILL to QEMU."""

    def strikes(self, lab: Lab) -> Fault:
        """KILL to QEMU, twice."""
        return kill(self.machines)


SCENARIO = Scenario(
    id="S051",
    title="the process of a microVM is killed under a stateful daemon",
    invariant="no acknowledged write is lost, there is never a second VM on its disk, and it is back in time",
    seen_in="kata-containers#4419",
    workload=VmKilled,
    adapters=("pepita",),
    checks=(
        faults.took_effect("kill"),
        service.no_acknowledged_write_lost(WRITES),
        identity.never_two_at_once(NAME, LOOKS),
        service.available_again_within(BOUND, at_once=("kill",)),
        service.ends_only_by(NAME, *BY_FAULTS),
        faults.recovered(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
    ),
    limit=120.0,
    recovery=20.0,
)
