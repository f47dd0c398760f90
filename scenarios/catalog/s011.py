"""S011: the log folder disappears."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fixtures.daemons import command
from scenarios.checks import faults, output, states
from scenarios.faults.base import Fault
from scenarios.faults.files import FolderGone
from scenarios.lab import Lab
from scenarios.scenario import Pace, Scenario, Workload
from scenarios.tables import daemon
from scenarios.workloads.clients import not_running

DAEMONS = tuple(f"writer-{number}" for number in range(8))
SECONDS = 4.0


class VanishingFolder(Workload):
    """Daemons that write into one folder, which disappears again and again."""

    pace = Pace(count=3, first=0.5, gap=1.0, hold=0.7)

    async def setup(self, lab: Lab) -> None:
        """Start all of them."""
        await lab.manager()
        for name in DAEMONS:
            log = {"destination": "file", "path": str(lab.folder / "logs" / f"{name}.log")}
            await lab.register(daemon(name, command("chatty", lab.report(name), 50), logging=log))
            await lab.start(name)

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """The folder, as a whole."""
        return (FolderGone(lab.folder / "logs"),)

    async def run(self, lab: Lab) -> None:
        """Keep asking all of them."""
        for _ in range(int(SECONDS / 0.25)):
            await lab.views()
            await asyncio.sleep(0.25)
        for name in DAEMONS:
            told = lab.reported(name)
            if told:
                lab.observe("written", lines=told[-1]["lines"], slowest_s=told[-1]["slowest_s"])

    async def recover(self, lab: Lab) -> str:
        """All run, and each has a log again."""
        wrong = await not_running(lab, DAEMONS)
        missing = [name for name in DAEMONS if not (lab.folder / "logs" / f"{name}.log").exists()]
        return wrong or (f"no log of {', '.join(missing)}" if missing else "")


SCENARIO = Scenario(
    id="S011",
    title="the log folder disappears while daemons run",
    invariant="the daemons do not notice",
    seen_in="supervisor#629",
    workload=VanishingFolder,
    checks=(
        faults.took_effect("folder-gone"),
        states.undisturbed(*DAEMONS),
        output.writes_never_block(1.0),
        faults.recovered(),
    ),
)
