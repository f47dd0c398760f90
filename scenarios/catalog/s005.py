"""S005: full disks, deleted logs, dead readers."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from fixtures.daemons import command
from fixtures.lease import Lease
from scenarios import look
from scenarios.checks import faults, output, restarts, states
from scenarios.faults.base import NoEffectError
from scenarios.faults.files import DeletedLog, DiskFull, SmallDisk
from scenarios.faults.processes import kill
from scenarios.history import observed
from scenarios.lab import Lab
from scenarios.scenario import Scenario, UnmetNeedError, Workload
from scenarios.tables import daemon
from scenarios.workloads.clients import not_running
from scenarios.workloads.observers import named

RATE, SIZE = 400, 400
"""Lines a second and bytes a line: a pipe of 64 KiB that nobody reads is full after 0.4 s."""
DISK_KIB = 8192
HOLD = 2.5
"""Seconds without space: a blocked write would be far above one second."""
CALM = 1.0


class TroubledLog(Workload):
    """A chatty daemon whose log is on a small disk of its own."""

    def __init__(self) -> None:
        self.disk: Lease | None = None
        self.path = Path()
        self.removed = 0

    async def setup(self, lab: Lab) -> None:
        """Mount the disk, in a folder of our own."""
        small = SmallDisk(lab.folder / "disk", DISK_KIB)
        try:
            self.disk = await small.mount(lab.reaper)
        except NoEffectError as error:
            raise UnmetNeedError(str(error)) from error
        self.path = small.folder / "logs" / "chatty.log"

    async def run(self, lab: Lab) -> None:
        """Fill the disk, delete the log, kill the reader; then end the daemon and compare."""
        await lab.manager()
        log = {"destination": "file", "path": str(self.path), "max_bytes": DISK_KIB * 1024, "backups": 1}
        line = command("chatty", lab.report("chatty"), RATE, SIZE)
        await lab.register(daemon("chatty", line, logging=log))
        await lab.start("chatty")
        full, deleted = DiskFull(self.path.parents[1]), DeletedLog(lambda: self.path)
        reader = kill(lambda: named(os.getpid(), "duende-logs"))
        for fault, hold in ((full, HOLD), (deleted, CALM), (reader, HOLD)):
            await lab.nemesis.strike(fault)
            await asyncio.sleep(hold)
            await lab.nemesis.heal(fault)
            await lab.status("chatty")
            await asyncio.sleep(CALM)
        await lab.stop("chatty")
        self.removed = deleted.removed
        self.audit(lab)
        await lab.start("chatty")

    def audit(self, lab: Lab) -> None:
        """Compare what was written with what is in the log and what was reported as lost."""
        told = lab.reported("chatty")
        last = told[-1] if told else {"lines": 0, "slowest_s": 0.0}
        lab.observe("written", lines=last["lines"], slowest_s=last["slowest_s"], done=last.get("done", False))
        text = b"".join(path.read_bytes() for path in self.path.parent.glob("chatty.log*"))
        present = sum(len(line) + 1 for line in text.split(b"\n") if re.match(rb"line \d+ x*$", line))
        reported = 0
        for event in observed(lab.history.operations, "event", name="chatty", kind="log-lost"):
            reported += int(str(event.value["detail"]).split()[0])
        missing = max(0, last["lines"] * SIZE - present)
        lab.observe("audit", missing_bytes=missing, reported_bytes=reported, removed_bytes=self.removed)

    async def recover(self, lab: Lab) -> str:
        """It runs again and its log is written; then it is stopped and the disk goes."""
        wrong = await not_running(lab, ("chatty",))
        if not wrong and not await look.until(
            lambda: self.path.exists() and b"line 1 " in self.path.read_bytes(), 5.0
        ):
            wrong = "nothing is written to the log"
        await lab.stop("chatty")
        if self.disk is not None:
            self.disk.undo()
            self.disk = None
        return wrong


SCENARIO = Scenario(
    id="S005",
    title="the log disk is full, the log file is deleted, the log reader dies",
    invariant="the daemon's write never blocks for more than 1 s; what was lost is counted and reported",
    seen_in="supervisor#1554",
    workload=TroubledLog,
    checks=(
        faults.took_effect("disk-full", "delete-log", "kill"),
        output.writes_never_block(1.0),
        output.every_line_accounted(),
        restarts.never_ended("chatty", before="stop"),
        states.always_one_of_seven(),
        faults.recovered(),
    ),
)
