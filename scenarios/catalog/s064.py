"""S064: the WOS kernel is killed under a stateful module."""

from __future__ import annotations

from pathlib import Path

from fixtures.runtimes.wos import Wos
from scenarios.faults.base import Fault
from scenarios.faults.modules import KernelGone
from scenarios.scenario import Scenario
from scenarios.workloads.modules import KeepingModule, checks


class Killed(KeepingModule):
    """Everything that runs in it ends with it, and nobody says how."""

    def fault(self, kernel: Wos, folder: Path) -> Fault:
        """KILL to its process."""
        return KernelGone(kernel)


SCENARIO = Scenario(
    id="S064",
    title="the WOS kernel is killed under a stateful module",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="moby#40789",
    workload=Killed,
    adapters=("wos",),
    breaks_runtime=True,
    checks=checks("kill-kernel", "exit not observed", at_once=False),
    limit=60.0,
    recovery=10.0,
)
