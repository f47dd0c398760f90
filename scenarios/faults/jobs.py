"""What somebody else can do to a job of launchd, with launchctl and without asking."""

from __future__ import annotations

import asyncio
from functools import partial

from fixtures.lease import Reaper
from fixtures.runtimes.launchd import Launchd
from fixtures.sharing import LabError
from scenarios.faults.base import Fault, NoEffectError, Targets
from scenarios.look import alive, until

GONE_WITHIN = 10.0
"""Seconds for a job to end that was booted out: its ExitTimeOut, and a little."""


class Unloaded(Fault):
    """`launchctl bootout` by somebody else: the job is ended, and launchd forgets it. Nothing to heal."""

    name = "unload"

    def __init__(self, host: Launchd, targets: Targets) -> None:
        self._host = host
        self._targets = targets

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Boot one of its jobs out; proven by the end of its process, and by a launchd that does not know the label."""
        pids = self._targets()
        labels = [name for name in await asyncio.to_thread(self._labels) if not name.endswith(".plist")]
        if not pids or not labels:
            raise NoEffectError("no job runs")
        label = labels[pick % len(labels)]
        try:
            await asyncio.to_thread(self._host.ctl, "bootout", "--wait", f"{self._host.domain}/{label}")
        except LabError as error:
            raise NoEffectError(str(error)) from error
        if not await until(partial(_gone, pids[0]), GONE_WITHIN):
            raise NoEffectError(f"{label} was booted out, and its process {pids[0]} lives")
        return f"launchd knows no {label} any more, and its process {pids[0]} has ended"

    async def heal(self) -> str:
        """Nothing to do."""
        return "whoever wants the job loads it again"

    def _labels(self) -> list[str]:
        return [name for name in self._host.jobs() if name.startswith("duende.")]


def _gone(pid: int) -> bool:
    return not alive(pid)
