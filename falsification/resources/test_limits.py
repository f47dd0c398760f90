"""Attempts on limits: real daemons of the native adapter come up against them, on control groups of version 1 and, in a guest, of version 2."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from duende.adapters.contract import SpawnRequest
from duende.adapters.native.adapter import NativeAdapter
from duende.adapters.pepita.adapter import PepitaAdapter
from duende.config.model import DaemonConfig, PlatformSection, ResourceConfig, RestartConfig, RestartPolicy
from duende.errors import StateError
from duende.ids import DaemonId
from duende.kernel.process import send_signal
from duende.manager import DaemonManager
from duende.manager.applying import Applied
from duende.states import Phase
from duende.supervision import SupervisorEvent
from falsification.kit import Trial, attempt
from falsification.workbench import manager_for, never
from fixtures import limited
from fixtures.runtimes.pepita import pepita

GUEST_WITHIN = 90.0
"""Seconds until the guest has said all: it boots, and everything in it is emulated."""
LIMIT_MIB, WANTED_MIB = 32, 64
QUOTA = 30.0
BPS = 4 << 20
KILL = 9


async def native(trial: Trial) -> NativeAdapter:
    """An adapter in the trial's folder."""
    adapter = NativeAdapter(runtime_dir=str(trial.tmp / "n"), state_dir=str(trial.tmp / "n"))
    trial.defer(adapter.close)
    return adapter


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
    handle = await adapter.launch(SpawnRequest(daemon_id=str(DaemonId.new()), config=config))
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
    adapter = await native(trial)
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
    adapter = await native(trial)
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
    adapter = await native(trial)
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
    adapter = await native(trial)
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


WRITER = """
import mmap, os, sys, time
block = mmap.mmap(-1, 1 << 20)
block.write(b"x" * (1 << 20))
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
size, written, began = int(sys.argv[2]), 0, time.monotonic()
while time.monotonic() - began < float(sys.argv[3]):
    os.lseek(fd, written % size, os.SEEK_SET)
    written += os.write(fd, memoryview(block)[: 1 << 16])
print(f"{written} {time.monotonic() - began}", flush=True)
time.sleep(600)
"""


def loop_device(trial: Trial, mib: int) -> str:
    """A block device on a file of the trial's, gone with it."""
    file = trial.tmp / "disk.img"
    with file.open("wb") as made:
        made.truncate(mib << 20)
    done = subprocess.run(
        ["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=True, timeout=30
    )
    device = done.stdout.strip()
    trial.defer(lambda: subprocess.run(["losetup", "--detach", device], check=True, timeout=30))
    return device


@attempt("F025", timeout=90, alone=True, saboteurs=["io-limit-is-not-written"])
async def test_io_bandwidth_limit_bites(trial: Trial) -> None:
    """A daemon that writes flat out to a block device, past the page cache, stays within its limit; without it, it is faster."""
    trial.situation("the device was faster than the limit")
    adapter = await native(trial)
    device = loop_device(trial, 64)

    async def rate(seconds: float, **limits: Any) -> float:
        handle = await limited.launch(
            adapter, limited.program("writer", WRITER, device, 64 << 20, seconds, **limits)
        )
        line = await limited.said(adapter, handle, seconds + 20)
        await adapter.stop(handle, 5.0)
        written, took = line.split()
        return int(written) / float(took)

    free = await rate(1.0)
    trial.reached("the device was faster than the limit", free > 2 * BPS)
    bound = await rate(trial.rounds(normal=10, under_saboteur=3), io_write_bps=BPS, io_devices=(device,))
    trial.figure("throughput without a limit", free / 1e6, unit="MB/s")
    trial.figure("throughput of the limit", 100 * bound / BPS, unit="%")
    trial.check(bound <= BPS, f"throughput is within the limit: {bound:.0f} of {BPS} bytes a second")


def shown(daemon_id: str, handle_pid: int) -> dict[str, str]:
    """The limits that the kernel has for a process, from the files of the groups it is in."""
    found = {}
    groups = Path(f"/proc/{handle_pid}/cgroup").read_text(encoding="ascii")
    for line in groups.splitlines():
        _, name, path = line.split(":", 2)
        for file in ("memory.limit_in_bytes", "cpu.cfs_quota_us", "pids.max", "memory.max", "cpu.max"):
            where = Path(f"/sys/fs/cgroup/{name}{path}/{file}")
            if "duende" in path and where.exists():
                found[file] = where.read_text(encoding="ascii").strip()
    return found


LIMITS = {"memory_bytes": 96 << 20, "memory_swap_bytes": 96 << 20, "cpu_quota_percent": 40.0, "pids_max": 17}
EXPECTED = {"memory.limit_in_bytes": str(96 << 20), "cpu.cfs_quota_us": "7968", "pids.max": "17"}


async def managed(trial: Trial, code: str, *arguments: object, **limits: Any) -> tuple[DaemonManager, str]:
    """A program under a manager that restarts it at once; the manager and its name."""
    manager = await manager_for(trial)
    config = limited.program("held", code, *arguments, **limits)
    fields = {name: getattr(config, name) for name in config.__struct_fields__}
    restart = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.05, multiplier=1.0)
    manager.register(DaemonConfig(**{**fields, "restart": restart}))
    await manager.start(config.name)
    return manager, config.name


async def running_again(trial: Trial, manager: DaemonManager, name: str, old: int) -> int:
    """The pid of the next instance."""
    await trial.until(
        lambda: (
            manager.status(name).status.phase is Phase.RUNNING and manager.status(name).pid not in (0, old)
        ),
        within=15,
        what="it runs again",
    )
    return manager.status(name).pid


@attempt("F031", timeout=90, saboteurs=["limits-are-for-the-first-start-only"])
async def test_limits_survive_a_restart(trial: Trial) -> None:
    """After a crash, after an operator's restart, and after a change while it ran, the limits read back are those that were set."""
    trial.situation("a limited daemon was restarted", at_least=3)
    manager, name = await managed(trial, "import time; time.sleep(600)", **LIMITS)
    pid = manager.status(name).pid
    trial.check(shown(name, pid) == EXPECTED, f"the limits are in force at first: {shown(name, pid)}")
    trial.check(send_signal(pid, KILL), "it was killed")
    pid = await running_again(trial, manager, name, pid)
    trial.check(shown(name, pid) == EXPECTED, f"and after a crash: {shown(name, pid)}")
    trial.reached("a limited daemon was restarted")
    await manager.restart(name)
    pid = await running_again(trial, manager, name, pid)
    trial.check(shown(name, pid) == EXPECTED, f"and after a restart: {shown(name, pid)}")
    trial.reached("a limited daemon was restarted")
    await Applied(manager).limits(name, {"pids": "23"})
    await manager.restart(name)
    pid = await running_again(trial, manager, name, pid)
    changed = {**EXPECTED, "pids.max": "23"}
    trial.check(shown(name, pid) == changed, f"a change survives as well: {shown(name, pid)}")
    trial.reached("a limited daemon was restarted")


@attempt("F032", timeout=90, alone=True, saboteurs=["a-live-change-changes-nothing"])
async def test_limits_change_while_it_runs(trial: Trial) -> None:
    """A new CPU quota is in force at once in the process that runs, and so is a new limit of processes."""
    trial.situation("the old limit was in force")
    manager, name = await managed(trial, limited.SPINNER, cpu_quota_percent=20.0)
    pid = manager.status(name).pid

    async def percent() -> float:
        began, used = time.monotonic(), limited.cpu_seconds(pid)
        await asyncio.sleep(2.0)
        return 100 * (limited.cpu_seconds(pid) - used) / (time.monotonic() - began)

    before = await percent()
    trial.reached("the old limit was in force", 10 < before < 23)
    began = time.monotonic()
    found = await Applied(manager).limits(name, {"cpu": "60", "pids": "1"})
    took = time.monotonic() - began
    after = await percent()
    trial.check(
        50 < after < 66, f"the new quota is in force at once: {before:.1f} % before, {after:.1f} % after"
    )
    trial.check(manager.status(name).pid == pid, "in the process that ran")
    trial.check(shown(name, pid)["pids.max"] == "1", f"as is the limit of processes: {shown(name, pid)}")
    trial.check(found["cpu"]["limit"] == 60.0, f"and it is told: {found['cpu']}")
    trial.figure("CPU before", before, unit="%")
    trial.figure("CPU after", after, unit="%")
    trial.figure("the change took", 1000 * took, unit="ms")


@attempt("F034", timeout=90, saboteurs=["nobody-looks-at-the-groups", "alerts-are-swallowed"])
async def test_exhaustion_raises_an_alert(trial: Trial) -> None:
    """A manager's client hears within a second that memory, processes or CPU time are exhausted."""
    trial.situation("a resource was exhausted", at_least=3)
    waits: list[float] = []
    for kind, code, arguments, limits in (
        ("pids", limited.FORKER, (20,), {"pids_max": 5}),
        ("cpu", limited.SPINNER, (), {"cpu_quota_percent": 20.0}),
        (
            "memory",
            limited.GREEDY,
            (WANTED_MIB, trial.tmp / "got"),
            {"memory_bytes": LIMIT_MIB << 20, "memory_swap_bytes": LIMIT_MIB << 20},
        ),
    ):
        for _ in range(trial.rounds(normal=3, under_saboteur=1)):
            manager = await manager_for(trial, f"m-{kind}-{len(waits)}")
            alerts = Alerts(manager, kind)
            config = limited.program(kind, code, *arguments, **limits)
            manager.register(config)
            began = time.monotonic()
            try:
                await manager.start(config.name)
            except StateError as error:  # it was killed before anybody took it for ready
                trial.log(str(error))
            exhausted = await exhaustion(trial, manager, config.name, kind, began)
            trial.reached("a resource was exhausted")
            await trial.until(lambda: alerts.first, within=5, what=f"the alert of {kind} comes", claimed=True)  # noqa: B023 - done within the turn
            waits.append(max(0.0, alerts.first - exhausted))
            await manager.stop(config.name)
    trial.judge(waits)


class Alerts:
    """When a manager first told of a limit of this kind; 0 while it has not."""

    def __init__(self, manager: DaemonManager, kind: str) -> None:
        self.first = 0.0
        self._kind = kind
        manager.subscribe(self._take)

    def _take(self, event: SupervisorEvent) -> None:
        if event.kind == "limit" and event.detail.startswith(self._kind) and not self.first:
            self.first = time.monotonic()


async def exhaustion(trial: Trial, manager: DaemonManager, name: str, kind: str, began: float) -> float:
    """When the resource was exhausted: by the daemon's own word, or the earliest it can have been."""
    if kind == "pids":
        lines: list[str] = []

        async def spoke() -> bool:
            lines[:] = await manager.logs(name, 1)
            return bool(lines)

        deadline = time.monotonic() + 20
        while not await spoke() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        trial.check(lines and "EAGAIN" in lines[0], f"it was refused a process: {lines}")
        return float(lines[0].split()[-1])
    if kind == "memory":
        await trial.until(lambda: manager.status(name).last_exit is not None, within=20, what="it is killed")
        return time.monotonic()
    return began + 0.02  # a spinner at a fifth of a core has used its first 20 ms then
