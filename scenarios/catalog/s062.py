"""S062: a stateful WebAssembly module under client load exhausts its memory."""

from __future__ import annotations

from pathlib import Path

from fixtures.runtimes.wos import Wos
from fixtures.wos.signals import ILL
from scenarios.faults.base import Fault
from scenarios.faults.modules import Told
from scenarios.scenario import Scenario
from scenarios.workloads.modules import NAME, KeepingModule, checks


class Exhausted(KeepingModule):
    """It takes all memory that it may have, and then cannot go on."""

    def fault(self, kernel: Wos, folder: Path) -> Fault:
        """By a request."""
        return Told(kernel, NAME, folder, "eat", ILL)


SCENARIO = Scenario(
    id="S062",
    title="a stateful WebAssembly module under client load exhausts its memory",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="wasmtime#3772, wabt#2197",
    workload=Exhausted,
    adapters=("wos",),
    breaks_runtime=True,
    checks=checks("eat", "killed by SIGILL", at_once=True),
    limit=60.0,
    recovery=10.0,
)
