"""S030: the recorded pid belongs to a stranger."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from scenarios.checks import faults, identity, latency, stops
from scenarios.history import read
from scenarios.lab import Lab
from scenarios.scenario import Scenario, UnmetNeedError, Workload

ROOT = Path(__file__).resolve().parents[2]
WITHIN = 90.0


class RecycledNumber(Workload):
    """Everything happens in a pid namespace, in `scenarios.workloads.recycle`; its history is taken over."""

    async def setup(self, lab: Lab) -> None:
        """Find unshare, and try whether it is allowed."""
        self.unshare = [shutil.which("unshare") or "", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if not self.unshare[0]:
            raise UnmetNeedError("there is no program `unshare` (package util-linux)")
        if os.geteuid() != 0:
            self.unshare[1:1] = ["--user", "--map-root-user"]
        trial = await asyncio.create_subprocess_exec(*self.unshare, "true", stderr=asyncio.subprocess.PIPE)
        _, complaint = await trial.communicate()
        if trial.returncode != 0:
            raise UnmetNeedError(f"no pid namespace of our own: {complaint.decode().strip()}")

    async def run(self, lab: Lab) -> None:
        """Run the inside and take its history over."""
        line = [*self.unshare, sys.executable, "-m", "scenarios.workloads.recycle", "init", str(lab.folder)]
        pipe = asyncio.subprocess.PIPE
        env = {**os.environ, **lab.reaper.environment, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(*line, stdout=pipe, stderr=pipe, cwd=ROOT, env=env)
        out, complaint = await asyncio.wait_for(process.communicate(), WITHIN)
        inner = lab.folder / "inner.jsonl"
        if inner.exists() and out:
            lab.history.absorb(read(inner), float(out.split()[0]))
        if process.returncode != 0:
            last = (complaint.decode().strip().splitlines() or ["without a word"])[-1]
            raise RuntimeError(f"the inside ended with {process.returncode}: {last}")


SCENARIO = Scenario(
    id="S030",
    title="the recorded pid is recycled by a stranger of the same name",
    invariant="never signalled, never adopted",
    seen_in="pitchfork#632 #665",
    workload=RecycledNumber,
    checks=(
        faults.took_effect("recycled-pid"),
        identity.stranger_untouched(),
        latency.only_expected_errors(),
        stops.stops_proven(),
    ),
    limit=120.0,
)
