"""Attempts on limits: real daemons of the native adapter come up against them, on control groups of version 1 and, in a guest, of version 2."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from duende.adapters.pepita.adapter import PepitaAdapter
from duende.config.model import DaemonConfig, PlatformSection, ResourceConfig
from falsification.kit import Trial, attempt
from falsification.workbench import adapter_for, never, request
from fixtures import limited
from fixtures.runtimes.pepita import pepita

GUEST_WITHIN = 90.0
"""Seconds until the guest has said all: it boots, and everything in it is emulated."""
LIMIT_MIB, WANTED_MIB = 32, 64
QUOTA = 30.0


async def in_guest(trial: Trial, kind: str) -> dict[str, dict[str, Any]]:
    """What the same daemons come up against in a guest that has control groups of version 2 alone."""
    trial.require("pepita")
    held = pepita()
    runtime = held.__enter__()
    trial.defer(held.__exit__, None, None, None)
    folder = str(trial.tmp / "p")
    adapter = PepitaAdapter(command=str(runtime.command), runtime_dir=folder, state_dir=folder)
    trial.defer(adapter.close)
    config = never(
        DaemonConfig(
            name="limited",
            daemon=f"{Path(limited.__file__).resolve()}:Limited",
            resources=ResourceConfig(pids_max=100),
            settings={"kinds": [kind]},
            platform=PlatformSection(pepita={"memory_mb": 384}),
        )
    )
    handle = await adapter.launch(request(config))
    trial.defer(adapter.stop, handle, 5.0)
    found: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + GUEST_WITHIN
    while "done" not in found:
        lines = await adapter.logs(handle, 50)
        found = {each["what"]: each for line in lines if line.startswith("{") for each in (json.loads(line),)}
        if time.monotonic() > deadline:
            trial.attach("guest.log", "\n".join(lines))
            raise TimeoutError(f"the guest has said {sorted(found)} only")
        await asyncio.sleep(0.2)
    trial.attach("guest.json", json.dumps(found, indent=2), "application/json")
    return found


@attempt(
    "F021",
    timeout=180,
    needs=["pepita"],
    saboteurs=["memory-limit-is-not-written", "daemon-stays-outside-its-group"],
)
async def test_memory_limit_bites(trial: Trial) -> None:
    """A daemon that takes more memory than its limit is killed for it, on cgroup v1 and on v2; with enough it gets all."""
    trial.situation("a daemon went beyond its limit", at_least=2)
    trial.situation("the same daemon had enough", at_least=2)
    adapter = await adapter_for(trial)
    here = {
        "groups": {"version": limited.versions()},
        "memory": await limited.memory(adapter, LIMIT_MIB, WANTED_MIB),
        "enough memory": await limited.memory(adapter, 3 * LIMIT_MIB, WANTED_MIB),
    }
    judge_memory(trial, here)
    judge_memory(trial, await in_guest(trial, "memory"))


def judge_memory(trial: Trial, found: dict[str, dict[str, Any]]) -> None:
    """What is claimed of one version."""
    version = found["groups"]["version"]["memory"]
    bitten, free = found["memory"], found["enough memory"]
    trial.check("SIGKILL" in bitten["exit"], f"v{version}: it is killed: {bitten}")
    trial.check(
        bitten["got_mib"] <= LIMIT_MIB, f"v{version}: it never had more than {LIMIT_MIB} MiB: {bitten}"
    )
    trial.check(
        any("memory" in line for line in bitten["told"]),
        f"v{version}: the kernel killed it for memory: {bitten}",
    )
    trial.reached("a daemon went beyond its limit")
    trial.reached("the same daemon had enough", free["got_mib"] == WANTED_MIB and free["exit"] == "")
    trial.figure(f"got of {LIMIT_MIB} MiB, cgroup v{version}", bitten["got_mib"], unit="MiB")


@attempt(
    "F022",
    timeout=180,
    alone=True,
    needs=["pepita"],
    saboteurs=["cpu-quota-is-not-written", "cpu-quota-is-rounded-up"],
)
async def test_cpu_quota_bites(trial: Trial) -> None:
    """A daemon that spins gets no more CPU time than its quota of the wall time, over 5 s, on cgroup v1 and on v2."""
    trial.situation("a daemon spun under a quota", at_least=2)
    adapter = await adapter_for(trial)
    found = {"groups": {"version": limited.versions()}, "cpu": await limited.cpu(adapter, QUOTA)}
    judge_cpu(trial, found)
    judge_cpu(trial, await in_guest(trial, "cpu"))


def judge_cpu(trial: Trial, found: dict[str, dict[str, Any]]) -> None:
    """What is claimed of one version."""
    version, cpu = found["groups"]["version"]["cpu"], found["cpu"]
    trial.reached("a daemon spun under a quota", cpu["wall_s"] >= 5.0 and cpu["of_quota"] > 0.8)
    trial.figure(f"CPU time of quota x wall time, cgroup v{version}", 100 * cpu["of_quota"], unit="%")
    trial.check(cpu["of_quota"] <= 1.0, f"v{version}: CPU time is within the quota: {cpu}")


@attempt("F023", timeout=60, saboteurs=["open-files-limit-is-left-out"])
async def test_open_file_limit_bites(trial: Trial) -> None:
    """A daemon that opens more descriptors than its limit gets EMFILE; with enough it gets all."""
    trial.situation("a daemon opened descriptors up to its limit", at_least=3)
    adapter = await adapter_for(trial)
    for limit in (16, 64, 512):
        handle = await limited.launch(
            adapter, limited.program("opener", limited.OPENER, 2 * limit, open_files_max=limit)
        )
        line = await limited.said(adapter, handle)
        trial.check(line == f"EMFILE after {limit - 3}", f"open() fails with EMFILE at {limit}: {line!r}")
        trial.reached("a daemon opened descriptors up to its limit")
        await adapter.stop(handle, 5.0)
    handle = await limited.launch(
        adapter, limited.program("opener", limited.OPENER, 500, open_files_max=1000)
    )
    line = await limited.said(adapter, handle)
    trial.check(line == "got all 500", f"below its limit it gets all: {line!r}")


@attempt("F024", timeout=180, needs=["pepita"], saboteurs=["pids-limit-is-not-written"])
async def test_process_limit_bites(trial: Trial) -> None:
    """A daemon that forks beyond its limit gets EAGAIN, on cgroup v1 and on v2; with enough it gets all."""
    trial.situation("a daemon forked up to its limit", at_least=2)
    adapter = await adapter_for(trial)
    here = {
        "groups": {"version": limited.versions()},
        "pids": await limited.pids(adapter, 5, 20),
        "enough pids": await limited.pids(adapter, 40, 20),
    }
    for found in (here, await in_guest(trial, "pids")):
        version = found["groups"]["version"]["pids"]
        said = found["pids"]["said"]
        trial.check(
            said.startswith("EAGAIN after 4 "),
            f"v{version}: fork() fails with EAGAIN at 5 processes: {said!r}",
        )
        trial.check(found["pids"]["proven"], f"v{version}: and nothing is left after its stop")
        trial.reached("a daemon forked up to its limit", found["enough pids"]["said"] == "got all 20")
