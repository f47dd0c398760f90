"""S017: ten thousand flaps."""

from __future__ import annotations

import asyncio
import shutil
import time

from scenarios import look
from scenarios.checks import faults, resources, restarts, states
from scenarios.lab import Lab
from scenarios.scenario import Scenario, UnmetNeedError, Workload
from scenarios.tables import always, daemon

DAEMONS = tuple(f"flap-{number}" for number in range(8))
FLAPS = 10_000
WARM = 5_000
"""Flaps until the manager's caches are full: the events it keeps are bounded, several come with each flap."""
SAMPLES = 10
DESCRIPTORS = 16
"""A daemon that is just starting has a few of its own in the manager: two samples differ by that."""
KIB = 4096
STUCK = 10.0
"""Seconds without any restart after which there will be none."""


class TenThousandFlaps(Workload):
    """Daemons that end at once, without a delay between two starts."""

    async def setup(self, lab: Lab) -> None:
        """The quickest program of the machine."""
        self.program = shutil.which("true") or ""
        if not self.program:
            raise UnmetNeedError("there is no program `true`")

    async def run(self, lab: Lab) -> None:
        """Sample the manager while the restarts add up."""
        driver = await lab.process([daemon(name, [self.program], restart=always()) for name in DAEMONS])
        manager = driver.process.pid if driver.process else 0
        due, flaps, moved = WARM, 0, time.monotonic()
        while flaps < FLAPS and time.monotonic() - moved < STUCK:
            await asyncio.sleep(0.2)
            views = await driver.ask("list")
            before, flaps = flaps, sum(view["restarts"] for view in views)
            moved = time.monotonic() if flaps > before else moved
            if flaps >= due:
                due += (FLAPS - WARM) // SAMPLES
                daemons = {view["pid"] for view in views}
                lab.resources([pid for pid in look.tree(manager) if pid not in daemons and self._ours(pid)])
        lab.observe("flaps", name="all", restarts=flaps)
        for name in DAEMONS:
            await lab.stop(name)

    @staticmethod
    def _ours(pid: int) -> bool:
        return "duende" in " ".join(look.command_line(pid))

    async def recover(self, lab: Lab) -> str:
        """Everything is stopped for good."""
        views = await lab.views()
        wrong = [view["name"] for view in views or () if view["status"] != "Stopped"]
        return f"not Stopped: {wrong}" if wrong else ""


SCENARIO = Scenario(
    id="S017",
    title="10 000 flaps",
    invariant="the manager's descriptors and memory stay flat",
    seen_in="circus#67",
    workload=TenThousandFlaps,
    checks=(
        restarts.keeps_restarting("all", FLAPS),
        resources.flat("descriptors", DESCRIPTORS, warm_up=1),
        resources.flat("private_kib", KIB, warm_up=1),
        states.always_one_of_seven(),
        faults.recovered(),
    ),
    limit=300.0,
)
