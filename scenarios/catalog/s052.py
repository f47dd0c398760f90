"""S052: the guest agent of a microVM is killed under a stateful daemon."""

from __future__ import annotations

from scenarios.checks import faults, identity, service, states, stops
from scenarios.faults.base import Fault
from scenarios.faults.microvms import AgentKilled
from scenarios.lab import Lab
from scenarios.platforms.microvms import MicroVMs
from scenarios.scenario import Scenario
from scenarios.workloads.guests import BOUND, NAME, InGuest

WRITES = 20
"""Acknowledged writes below which a run says nothing."""
LOOKS = 10
BY_FAULTS = ("exit not observed", "exit code 0")
"""How it ends: with its VM, and by the operator."""


class AgentGone(InGuest):
    """KILL to the agent, inside."""

    def strikes(self, lab: Lab) -> Fault:
        """KILL to the agent, inside, twice."""
        platform = lab.platform
        if not isinstance(platform, MicroVMs):
            raise TypeError(f"{platform.name} has no guest agent")
        return AgentKilled(platform.runtime, self.machines)


SCENARIO = Scenario(
    id="S052",
    title="the guest agent of a microVM is killed under a stateful daemon",
    invariant="no acknowledged write is lost, there is never a second VM on its disk, and it is back in time",
    seen_in="kata-containers#4880",
    workload=AgentGone,
    adapters=("pepita",),
    checks=(
        faults.took_effect("kill-agent"),
        service.no_acknowledged_write_lost(WRITES),
        identity.never_two_at_once(NAME, LOOKS),
        service.available_again_within(BOUND, at_once=("kill-agent",)),
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
