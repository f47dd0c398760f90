"""S063: the WOS kernel halts over a violation under a stateful module."""

from __future__ import annotations

from pathlib import Path

from fixtures.runtimes.wos import Wos
from scenarios.faults.base import Fault
from scenarios.faults.modules import KernelHalted
from scenarios.scenario import Scenario
from scenarios.workloads.modules import KeepingModule, checks


class Halted(KeepingModule):
    """Nothing runs until somebody replaces the kernel."""

    def fault(self, kernel: Wos, folder: Path) -> Fault:
        """More processes than there may be."""
        return KernelHalted(kernel)


SCENARIO = Scenario(
    id="S063",
    title="the WOS kernel halts over a violation under a stateful module",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="wasmtime#2751",
    workload=Halted,
    adapters=("wos",),
    breaks_runtime=True,
    checks=checks("halt-kernel", "exit not observed", at_once=False),
    limit=60.0,
    recovery=10.0,
)
