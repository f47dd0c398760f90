"""Attempts on adapters and detection, on real runtimes: a private dockerd, and systemd as PID 1 in a container."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from duende.adapters.container.adapter import ContainerAdapter
from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, Found, PlatformAdapter
from duende.adapters.systemd.adapter import SystemdAdapter
from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    PlatformSection,
    ReadinessConfig,
    ReadinessKind,
    RestartConfig,
    RestartPolicy,
)
from duende.manager import DaemonManager
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import daemon_class, never, request
from fixtures.runtimes.dockerd import Docker, docker
from fixtures.runtimes.systemd import Systemd, systemd

STARTS = 100
DETECT = "from duende import detect_platform; print(detect_platform().value)"
DOCKERS_OWN = RestartConfig(
    policy=RestartPolicy.ALWAYS,
    initial_delay=0.1,
    multiplier=2.0,
    max_delay=60.0,
    stable_after=10.0,
    max_retries=10_000,
    delegate=True,
)
"""What Docker itself does (docker-run(1), restart policies; restartmanager.go): 100 ms, doubled up to a minute."""


def private_docker(trial: Trial) -> Docker:
    """The run's dockerd, or one for this attempt alone."""
    held = docker()
    trial.defer(held.__exit__, None, None, None)
    return held.__enter__()


def private_systemd(trial: Trial) -> Systemd:
    """A systemd for this attempt, gone with it."""
    held = systemd(private_docker(trial), user=False, shared=False)  # it sees the very tree that is tried
    trial.defer(held.__exit__, None, None, None)
    return held.__enter__()


def in_container(image: str, config: DaemonConfig) -> DaemonConfig:
    """The same daemon in a container of *image*."""
    fields = {name: getattr(config, name) for name in config.__struct_fields__}
    return DaemonConfig(**{**fields, "platform": PlatformSection(container_image=image)})


@asynccontextmanager
async def container_adapter(trial: Trial, runtime: Docker) -> AsyncIterator[ContainerAdapter]:
    """An adapter on the private dockerd."""
    folder = str(trial.tmp)
    adapter = ContainerAdapter(
        runtime="docker", socket=str(runtime.socket), runtime_dir=folder, state_dir=folder
    )
    try:
        yield adapter
    finally:
        await adapter.close()


@asynccontextmanager
async def systemd_adapter(host: Systemd) -> AsyncIterator[SystemdAdapter]:
    """An adapter on the private systemd."""
    adapter = SystemdAdapter(
        user=False,
        bus_address=host.bus_address,
        runtime_dir=str(host.shared / "r"),
        journal=host.journal_command,
    )
    try:
        yield adapter
    finally:
        await adapter.close()


class Reports:
    """What an adapter reports, with the time it came."""

    def __init__(self, adapter: PlatformAdapter) -> None:
        self.all: list[tuple[float, AdapterEvent]] = []
        adapter.subscribe(lambda event: self.all.append((time.monotonic(), event)))

    def of(self, handle_or_id: DaemonHandle | str, kind: EventKind) -> list[float]:
        """When reports of that kind about that daemon came."""
        wanted = handle_or_id if isinstance(handle_or_id, str) else handle_or_id.daemon_id
        return [at for at, event in self.all if event.daemon_id == wanted and event.kind is kind]


def kill_from_outside(pid: int) -> None:
    """SIGKILL to a process of the host, as an accident would: through a pidfd, and never to 1 or below."""
    if pid <= 1:
        raise ValueError(f"{pid} is no single process")
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)


def inspect(runtime: Docker, name: str) -> dict[str, Any]:
    """What Docker itself says of a container."""
    (found,) = json.loads(runtime.docker("inspect", name))
    return dict(found)


@attempt(
    "F003", level="container", alone=True, timeout=600, needs=["root"], saboteurs=["container-start-dawdles"]
)
async def test_docker_start_is_quick(trial: Trial) -> None:
    """A `Daemon` started in a new Docker container reports ready within 500 ms at p99 over 100 starts."""
    rounds = trial.rounds(STARTS, 20)
    trial.situation("a daemon in a new container reported ready", at_least=rounds)
    runtime = private_docker(trial)
    config = never(in_container(runtime.image("python"), daemon_class("Waiter")))
    async with container_adapter(trial, runtime) as adapter:
        reports = Reports(adapter)
        samples: list[float] = []
        for number in range(rounds + 1):
            asked = request(config)
            began = time.monotonic()
            with trial.claimed("a container starts"):
                handle = await adapter.launch(asked)
            await trial.until(
                partial(reports.of, asked.daemon_id, EventKind.READY),
                within=20,
                what="READY arrives",
                every=0.001,
                claimed=True,
            )
            if number:  # the first one loads the image's files and the adapter's modules
                samples.append((reports.of(asked.daemon_id, EventKind.READY)[0] - began) * 1000)
                trial.reached("a daemon in a new container reported ready")
            await adapter.kill(handle)
            await adapter.wait(handle)
            adapter.forget([handle.daemon_id])
        trial.judge(samples)
        trial.figure("start until ready (p50)", samples, unit="ms", statistic="p50")


@attempt("F081", level="machine", timeout=180, needs=["root"], saboteurs=["systemd-starts-a-placeholder"])
async def test_systemd_unit_is_made(trial: Trial) -> None:
    """A started daemon is a unit that systemctl calls active and running, and its main process is the very program given."""
    host = private_systemd(trial)
    async with systemd_adapter(host) as adapter:
        for config in (
            DaemonConfig(name="sleeper", binary_path="/usr/bin/sleep", args=("987",)),
            daemon_class("Waiter"),
        ):
            with trial.claimed("the unit starts"):
                handle = await adapter.launch(request(never(config)))
            await trial.until(
                partial(_is_active, host, handle.instance),
                within=20,
                what="systemctl says active and running",
                every=0.05,
                claimed=True,
            )
            told = _shown(host, handle.instance)
            words = host.exec(["cat", f"/proc/{told['MainPID']}/cmdline"]).split("\0")
            wanted = "987" if config.binary_path else "Waiter"
            trial.check(
                any(wanted in word for word in words), f"its main process is what was given: {words[:6]}"
            )
            trial.reached("systemctl was asked for a running unit", at_least=2)
            proof = await adapter.stop(handle, 10.0)
            trial.check(proof.proven, f"it is gone afterwards: {proof.proof}")


@attempt("F082", level="machine", timeout=180, needs=["root"], saboteurs=["systemd-is-told-not-to-restart"])
async def test_systemd_restarts_it(trial: Trial) -> None:
    """A daemon whose process is killed is restarted by systemd itself, by the policy it was given, which reads back so."""
    host = private_systemd(trial)
    policy = RestartConfig(
        policy=RestartPolicy.ALWAYS, initial_delay=0.2, multiplier=1.0, max_retries=10_000, delegate=True
    )
    async with systemd_adapter(host) as adapter:
        config = DaemonConfig(name="phoenix", binary_path="/usr/bin/sleep", args=("986",), restart=policy)
        reports = Reports(adapter)
        with trial.claimed("the unit starts"):
            handle = await adapter.launch(request(config))
        told = {each.key: each for each in await adapter.explain(handle, config)}
        entry = told.get("restart.delegate")
        trial.check(entry is not None and entry.outcome is Found.HONOURED, f"it reads back so: {entry}")
        for number in (1, 2, 3):
            inside = _main_pid(host, handle.instance)
            kill_from_outside(host.host_pid(inside))
            trial.reached("the daemon's process was killed", at_least=3)
            await trial.until(
                partial(_is_another, host, handle.instance, inside),
                within=20,
                what="systemd starts a new process",
                every=0.05,
                claimed=True,
            )
            restarts = host.systemctl("show", handle.instance, "--property=NRestarts", "--value").strip()
            trial.check(restarts == str(number), f"systemd counts {number} restarts: {restarts}")
        await trial.until(
            lambda: len(reports.of(handle, EventKind.RESTARTED)) == 3,
            within=10,
            what="each restart is reported",
            claimed=True,
        )
        trial.check(not reports.of(handle, EventKind.EXITED), "no end is reported of what goes on")
        proof = await adapter.stop(handle, 10.0)
        trial.check(proof.proven, f"an operator's stop ends it all the same: {proof.proof}")


def _main_pid(host: Systemd, unit: str) -> int:
    return int(host.systemctl("show", unit, "--property=MainPID", "--value"))


def _shown(host: Systemd, unit: str) -> dict[str, str]:
    shown = host.systemctl("show", unit, "--property=ActiveState,SubState,MainPID")
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def _is_active(host: Systemd, unit: str) -> bool:
    told = _shown(host, unit)
    return (told["ActiveState"], told["SubState"]) == ("active", "running")


def _is_another(host: Systemd, unit: str, before: int) -> bool:
    return _main_pid(host, unit) not in (0, before)


@attempt("F085", level="container", timeout=180, needs=["root"], saboteurs=["container-runs-a-placeholder"])
async def test_container_is_made(trial: Trial) -> None:
    """A started daemon is a container that `docker ps` shows as running, labelled, and its process is the very program given."""
    runtime = private_docker(trial)
    image = runtime.image("python")
    async with container_adapter(trial, runtime) as adapter:
        for config in (
            DaemonConfig(name="sleeper", binary_path="/bin/sleep", args=("985",)),
            daemon_class("Waiter"),
        ):
            asked = request(never(in_container(image, config)))
            with trial.claimed("the container starts"):
                handle = await adapter.launch(asked)
            shown = runtime.docker(
                "ps",
                "--filter",
                f"label=duende.daemon.id={asked.daemon_id}",
                "--format",
                "{{.State}} {{.Image}}",
            )
            trial.check(shown.split() == ["running", image], f"docker ps shows it running: {shown!r}")
            words = runtime.docker("top", handle.instance, "-eo", "pid,args")
            wanted = "sleep 985" if config.binary_path else "Waiter"
            trial.check(wanted in words, f"its process is what was given: {words!r}")
            trial.reached("docker ps was asked for a running container", at_least=2)
            proof = await adapter.stop(handle, 10.0)
            trial.check(proof.proven, f"it is gone afterwards: {proof.proof}")


@attempt(
    "F086",
    level="container",
    timeout=180,
    needs=["root"],
    saboteurs=["docker-is-told-not-to-restart", "death-by-signal-counts-as-wanted"],
)
async def test_docker_restart_policy_works(trial: Trial) -> None:
    """A container whose process is killed runs again: by the manager's policy, and by Docker's own where it was delegated."""
    runtime = private_docker(trial)
    image = runtime.image("tiny")
    program = DaemonConfig(name="x", binary_path="/bin/sleep", args=("984",))
    quick = ReadinessConfig(kind=ReadinessKind.NONE, settle=0.05)
    for name, restart in (
        ("managed", RestartConfig(policy=RestartPolicy.ON_FAILURE, initial_delay=0.2)),
        ("delegated", DOCKERS_OWN),
    ):
        folder = trial.tmp / name
        folder.mkdir()
        adapter = ContainerAdapter(
            runtime="docker", socket=str(runtime.socket), runtime_dir=str(folder), state_dir=str(folder)
        )
        manager = DaemonManager(adapter=adapter, state_dir=str(folder / "s"), runtime_dir=str(folder / "r"))
        await manager.open()
        trial.defer(manager.close)
        fields = {each: getattr(program, each) for each in program.__struct_fields__}
        manager.register(
            in_container(
                image, DaemonConfig(**{**fields, "name": name, "restart": restart, "readiness": quick})
            )
        )
        with trial.claimed("the container starts"):
            await manager.start(name)
        supervisor = manager.find(name)
        handle = supervisor.handle if supervisor is not None else None
        if handle is None:
            trial.check(False, "a started daemon has a handle")
            return
        before = int(inspect(runtime, handle.instance)["State"]["Pid"])
        kill_from_outside(before)
        trial.reached("a container's process was killed", at_least=2)
        await trial.until(
            partial(_runs_again, manager, name),
            within=15,
            what=f"{name}: it runs again",
            claimed=True,
        )
        label = f"label=duende.daemon.id={handle.daemon_id}"
        after = runtime.docker("ps", "--filter", label, "--format", "{{.ID}}").split()
        trial.check(len(after) == 1, f"docker ps shows one container of it: {after}")
        now = int(inspect(runtime, after[0])["State"]["Pid"])
        trial.check(now not in (0, before), f"it is a new process: {now}, before {before}")
        proof = await manager.stop(name)
        trial.check(proof.proven, f"an operator's stop ends it: {proof.proof}")


def _runs_again(manager: DaemonManager, name: str) -> bool:
    view = manager.status(name)
    return view.restarts == 1 and view.status.phase is Phase.RUNNING


@attempt("F087", level="container", timeout=180, needs=["root"], saboteurs=["container-has-no-health-check"])
async def test_docker_health_check_is_set(trial: Trial) -> None:
    """The container's configuration has the health check that was configured, and Docker runs it: its verdict arrives here."""
    runtime = private_docker(trial)
    check = HealthCheckConfig(
        exec=("/bin/test", "-e", "/tmp/well"), interval=0.5, timeout=3.0, retries=2, restart=False
    )
    script = "touch /tmp/well; sleep 3; rm /tmp/well; exec sleep 983"
    config = DaemonConfig(name="ward", binary_path="/bin/sh", args=("-c", script), health_check=check)
    async with container_adapter(trial, runtime) as adapter:
        reports = Reports(adapter)
        with trial.claimed("the container starts"):
            handle = await adapter.launch(request(never(in_container(runtime.image("tiny"), config))))
        found = inspect(runtime, handle.instance)["Config"].get("Healthcheck") or {}
        trial.check(found.get("Test") == ["CMD", *check.exec], f"the check is there: {found}")
        trial.check(
            (found.get("Interval"), found.get("Timeout"), found.get("Retries"))
            == (500_000_000, 3_000_000_000, 2),
            f"as it was configured: {found}",
        )
        trial.reached("a container's configuration was inspected")
        await trial.until(
            lambda: reports.of(handle, EventKind.UNHEALTHY),
            within=30,
            what="Docker runs the check and says unhealthy",
            every=0.05,
            claimed=True,
        )
        await adapter.stop(handle, 2.0)


@attempt("F098", level="machine", timeout=180, needs=["root"], saboteurs=["detection-finds-no-systemd"])
async def test_linux_is_detected(trial: Trial) -> None:
    """Where systemd is PID 1 and no mark of a container is seen, detection says Linux."""
    host = private_systemd(trial)
    host.exec(["rm", "-f", "/.dockerenv"])
    # A control group namespace shows PID 1 as outside of it, so its path does not name the runtime any more.
    line = ["unshare", "--cgroup", "env", "-u", "container", sys.executable, "-c", DETECT]
    seen = host.exec(
        ["unshare", "--cgroup", "sh", "-c", "cat /proc/1/comm /proc/1/cgroup; ls -d /run/systemd/system"]
    )
    trial.attach("what-detection-sees.txt", seen)
    trial.check("docker" not in seen and "containerd" not in seen, "no mark of a container is seen")
    trial.reached("systemd is PID 1", seen.startswith("systemd"))
    with trial.claimed("detection answers"):
        said = host.exec(line).strip()
    trial.check(said == "linux", f"it says {said!r}")


@attempt("F100", level="container", timeout=120, needs=["root"], saboteurs=["detection-sees-no-container"])
async def test_container_is_detected(trial: Trial) -> None:
    """Inside a Docker container detection says Container."""
    runtime = private_docker(trial)
    config = daemon_class("Looker")
    async with container_adapter(trial, runtime) as adapter:
        with trial.claimed("the container starts"):
            handle = await adapter.launch(request(never(in_container(runtime.image("python"), config))))
        with trial.claimed("it ends"):
            seen = await adapter.wait(handle)
        lines = await adapter.logs(handle, 20)
        trial.reached("detection ran in a container", any(line.startswith("platform ") for line in lines))
        trial.check("platform container" in lines, f"it says so: {lines} ({seen})")
