"""Attempts on limits of daemons that are restarted, changed while they run, handed over, and exhausted: what is in force, and who hears of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from duende.adapters.contract import Ownership
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import DaemonConfig, RestartConfig, RestartPolicy
from duende.errors import StateError
from duende.kernel.process import send_signal
from duende.manager import DaemonManager
from duende.manager.applying import Applied
from duende.states import Phase
from duende.supervision import SupervisorEvent
from falsification.kit import Trial, attempt
from falsification.workbench import manager_for, request
from fixtures import limited

LIMIT_MIB, WANTED_MIB = 32, 64
KILL = 9


def shown(pid: int) -> dict[str, str]:
    """The limits that the kernel has for a process, from the files of the groups it is in."""
    found = {}
    groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
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
    trial.check(shown(pid) == EXPECTED, f"the limits are in force at first: {shown(pid)}")
    trial.check(send_signal(pid, KILL), "it was killed")
    pid = await running_again(trial, manager, name, pid)
    trial.check(shown(pid) == EXPECTED, f"and after a crash: {shown(pid)}")
    trial.reached("a limited daemon was restarted")
    await manager.restart(name)
    pid = await running_again(trial, manager, name, pid)
    trial.check(shown(pid) == EXPECTED, f"and after a restart: {shown(pid)}")
    trial.reached("a limited daemon was restarted")
    await Applied(manager).limits(name, {"pids": "23"})
    await manager.restart(name)
    pid = await running_again(trial, manager, name, pid)
    changed = {**EXPECTED, "pids.max": "23"}
    trial.check(shown(pid) == changed, f"a change survives as well: {shown(pid)}")
    trial.reached("a limited daemon was restarted")
    await handed_over(trial)


async def handed_over(trial: Trial) -> None:
    """A daemon whose adapter goes is limited still; the next one knows its group, changes it, and leaves nothing of it behind."""
    home = trial.tmp / "kept"
    first = NativeAdapter(runtime_dir=str(home), state_dir=str(home), keep=True)
    config = limited.program("kept", "import time; time.sleep(600)", **LIMITS)
    handle = await first.launch(request(config))
    await trial.until(
        lambda: shown(handle.pid) == EXPECTED, within=5, what="the limits are in force", claimed=True
    )
    groups = [Path(path) for path in first.groups.of(handle.daemon_id)]
    await first.close()
    second = NativeAdapter(runtime_dir=str(home), state_dir=str(home), keep=False)
    trial.defer(second.close)
    trial.check(await second.adopt(handle) is Ownership.OURS, "the next adapter adopts it")
    trial.check(shown(handle.pid) == EXPECTED, f"its limits are what they were: {shown(handle.pid)}")
    await second.update_limits(handle, limited.program("kept", "", **{**LIMITS, "pids_max": 9}), config)
    trial.check(shown(handle.pid)["pids.max"] == "9", f"and can be changed: {shown(handle.pid)}")
    proof = await second.stop(handle, 5.0)
    trial.check(
        proof.proven and "control group is empty" in proof.proof,
        f"its stop is proven by its group: {proof.proof}",
    )
    trial.check(groups and not any(path.exists() for path in groups), "and nothing of the group is left")


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
    trial.check(shown(pid)["pids.max"] == "1", f"as is the limit of processes: {shown(pid)}")
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
