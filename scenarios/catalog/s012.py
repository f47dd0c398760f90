"""S012: the command while a daemon is Starting."""

from __future__ import annotations

import asyncio
import json

from fixtures.daemons import command
from scenarios.checks import answers, states
from scenarios.drivers import DUENDE
from scenarios.lab import Lab
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon

TIMES = 3


class StatusWhileStarting(Workload):
    """A daemon that never gets ready, one that runs, one that is not started; a person asks."""

    async def run(self, lab: Lab) -> None:
        """Ask about each, a few times."""
        patient = {"kind": "notify", "timeout": 60.0}
        tables = [
            daemon("starting", command("notifier", "never"), readiness=patient),
            daemon("running", command("obedient")),
            daemon("idle", command("obedient"), autostart=False),
        ]
        await lab.process(tables)
        await lab.until_event("running", "running")
        for _ in range(TIMES):
            for name in ("starting", "running", "idle"):
                await self._ask(lab, name)

    @staticmethod
    async def _ask(lab: Lab, name: str) -> None:
        line = [*DUENDE, "status", name, "--json", "--runtime-dir", str(lab.folder / "run")]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*line, stdout=pipe, stderr=pipe)
        out, complaint = await process.communicate()
        try:
            told = json.loads(out)
            status = str(told["result"]["status"])
        except (ValueError, KeyError, TypeError):
            status = f"no JSON: {out!r} {complaint!r}"
        lab.observe("command", name=name, status=status, code=process.returncode)


SCENARIO = Scenario(
    id="S012",
    title="status while Starting",
    invariant="machine readable, and the exit code differs from that of Running",
    seen_in="supervisor#1488",
    workload=StatusWhileStarting,
    checks=(
        answers.command_tells(starting=("Starting", 5), running=("Running", 0), idle=("Created", 3)),
        states.always_one_of_seven(),
    ),
)
