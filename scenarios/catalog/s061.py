"""S061: a stateful WebAssembly module under client load traps."""

from __future__ import annotations

from pathlib import Path

from fixtures.runtimes.wos import Wos
from fixtures.wos.signals import ILL
from scenarios.faults.base import Fault
from scenarios.faults.modules import Told
from scenarios.scenario import Scenario
from scenarios.workloads.modules import NAME, KeepingModule, checks


class Trapped(KeepingModule):
    """It reaches what is unreachable."""

    def fault(self, kernel: Wos, folder: Path) -> Fault:
        """By a request."""
        return Told(kernel, NAME, folder, "trap", ILL)


SCENARIO = Scenario(
    id="S061",
    title="a stateful WebAssembly module under client load traps",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="proto#537, chicory#1128",
    workload=Trapped,
    adapters=("wos",),
    breaks_runtime=True,
    checks=checks("trap", "killed by SIGILL", at_once=True),
    limit=60.0,
    recovery=10.0,
)
