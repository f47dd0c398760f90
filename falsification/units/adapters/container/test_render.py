"""From a configuration to what runtimes are asked for: pure, complete, and nothing pasted together."""

from __future__ import annotations

import csv
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.container import source
from duende.adapters.container.detect import candidates
from duende.adapters.container.engine import Facts, Mount, Plan, Runtime
from duende.adapters.container.ignored import ignored
from duende.adapters.container.plan import Place, plan_of
from duende.adapters.container.render import ctr_arguments, docker_body
from duende.adapters.container.settings import settings_of
from duende.adapters.contract import SpawnRequest
from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from duende.errors import PlatformConfigError
from falsification.units.adapters.container.support import ID
from falsification.units.support import config

PLACE = Place(image="busybox:1", notify_dir="/n", daemon_dir="/d", device="/dev/vda", nproc=500)
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)


def plan(settings: DaemonConfig, runtime: Runtime = Runtime.DOCKER, place: Place = PLACE) -> Plan:
    """The plan for *settings*, with a source where it is a class."""
    found = None
    if settings.daemon is not None:
        found = source.Source(settings.daemon, (Mount("/lib/duende", f"{source.LIBRARY}/duende", True),))
    request = SpawnRequest(daemon_id=ID, config=settings, config_hash="abc", env={"FROM": "starter"})
    return plan_of(request, settings_of(settings), Facts(runtime=runtime, version="1"), place, found)


def test_everything_is_in_the_body() -> None:
    """Each setting that Docker knows is a field of the request, in Docker's units."""
    settings = config(
        version="2.1.0",
        args=("a b", "$HOME"),
        env={"K": 'v "1"\n%'},
        user="1000",
        group="50",
        working_dir="/srv",
        shutdown_timeout=12.0,
        resources=ResourceConfig(
            memory_bytes=1 << 26, memory_swap_bytes=1 << 27, cpu_quota_percent=150.0, cpu_shares=7, io_read_bps=11,
            io_write_bps=12, pids_max=13, open_files_max=14, lock_memory=True, core_bytes=0, stack_bytes=1 << 20,
        ),
        health_check=HealthCheckConfig(exec=("/check", "x y"), interval=0.5, timeout=0.25, retries=4),
        logging=LoggingConfig(max_bytes=4096, backups=2),
        security=SecurityConfig(
            no_new_privileges=True, read_only_root=True, private_tmp=True, writable_paths=("/data",), drop_capabilities=("ALL",),
            add_capabilities=("KILL",), supplementary_groups=("44",),
        ),
        platform=PlatformSection(container={"network": "bridge", "ports": ["127.0.0.1:80:8080"], "volumes": ["cache:/c:ro"], "runtime": "crun"}),
    )  # fmt: skip
    body = docker_body(plan(settings))
    host = body["HostConfig"]
    assert (body["Entrypoint"], body["Cmd"]) == (["/bin/true"], ["a b", "$HOME"])
    assert {'K=v "1"\n%', "FROM=starter", f"DUENDE_DAEMON_ID={ID}", "DUENDE_DAEMON_NAME=web"} == set(
        body["Env"]
    )
    assert body["Labels"] == {
        "duende.daemon.id": ID,
        "duende.daemon.version": "2.1.0",
        "duende.daemon.name": "web",
        "duende.daemon.config": "abc",
    }
    assert (body["User"], body["WorkingDir"], body["StopTimeout"], body["StopSignal"]) == (
        "1000:50",
        "/srv",
        12,
        "SIGTERM",
    )
    assert body["Healthcheck"] == {
        "Test": ["CMD", "/check", "x y"], "Interval": 500_000_000, "Timeout": 250_000_000, "Retries": 4, "StartPeriod": 0,
    }  # fmt: skip
    wanted: dict[str, Any] = {
        "Memory": 1 << 26, "MemorySwap": 1 << 27, "CpuPeriod": 100_000, "CpuQuota": 150_000, "CpuShares": 7, "PidsLimit": 13,
        "CapAdd": ["KILL", "IPC_LOCK"], "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": True,
        "GroupAdd": ["44"], "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "NetworkMode": "bridge", "Init": True,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "4096", "max-file": "3"}}, "Runtime": "crun",
        "BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 11}], "BlkioDeviceWriteBps": [{"Path": "/dev/vda", "Rate": 12}],
        "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]},
    }  # fmt: skip
    assert {key: host[key] for key in wanted} == wanted
    limits = {each["Name"]: (each["Soft"], each["Hard"]) for each in host["Ulimits"]}
    assert limits == {"nofile": (14, 14), "core": (0, 0), "stack": (1 << 20, 1 << 20), "memlock": (-1, -1)}
    mounts = {each["Target"]: (each["Type"], each["Source"], each["ReadOnly"]) for each in host["Mounts"]}
    assert mounts == {"/data": ("bind", "/data", False), "/c": ("volume", "cache", True)}
    assert list(host["Tmpfs"]) == ["/tmp"]


def test_defaults_limit_too() -> None:
    """Without a word in the configuration its documented defaults hold, and nothing of the image's own health check."""
    body = docker_body(plan(config()))
    host = body["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["CpuQuota"], host["PidsLimit"]) == (
        512 << 20,
        1 << 30,
        100_000,
        100,
    )
    assert body["Healthcheck"] == {"Test": ["NONE"]}
    assert (host["NetworkMode"], host["Mounts"], host["SecurityOpt"]) == ("host", [], [])
    assert "User" not in body


def test_a_class_is_run_by_the_host_of_duende() -> None:
    """The command runs `duende.host.main` on the class with its configuration; readiness and health have their places."""
    settings = config(
        binary_path=None,
        daemon="shop.web:Web",
        settings={"a": [1, "x"]},
        security=SecurityConfig(umask=0o027),
        resources=ResourceConfig(nice=-3),
    )
    made = plan(settings)
    python, flag, code, library, target, option, encoded = made.argv
    assert (python, flag, library, target, option) == (
        "python3",
        "-c",
        source.LIBRARY,
        "shop.web:Web",
        "--config-json",
    )
    assert "os.umask(23)" in code
    assert "os.setpriority(os.PRIO_PROCESS, 0, -3)" in code
    compile(code, "start", "exec")
    assert json.loads(encoded)["settings"] == {"a": [1, "x"]}
    assert made.env["NOTIFY_SOCKET"] == f"{source.NOTIFY}/notify.sock"
    assert not made.init
    assert "SYS_NICE" in made.add_capabilities
    assert Mount("/n", source.NOTIFY, True) in made.mounts
    assert Mount("/d", source.RUNTIME, False) in made.mounts


def test_podman_and_containerd_are_told_apart() -> None:
    """Podman gets the limit it would set too high by itself, and no health check, as it would leave that to systemd."""
    settings = config(health_check=HealthCheckConfig(exec=("/check",)))
    assert plan(settings, Runtime.PODMAN).ulimits["nproc"] == 500
    assert plan(settings, Runtime.PODMAN).health is None
    assert plan(settings, Runtime.DOCKER).health is not None
    assert not plan(settings, Runtime.CONTAINERD).init


@pytest.mark.parametrize(
    ("percent", "quota", "period"),
    [(100.0, 100_000, 100_000), (0.5, 5000, 1_000_000), (33.3, 33_300, 100_000)],
)
def test_shares_of_a_core(percent: float, quota: int, period: int) -> None:
    """A percentage is microseconds in a period that the kernel takes; what it cannot count is refused."""
    made = plan(config(resources=ResourceConfig(cpu_quota_percent=percent)))
    assert (made.cpu_quota, made.cpu_period) == (quota, period)
    with pytest.raises(PlatformConfigError, match="cpu_quota_percent"):
        plan(config(resources=ResourceConfig(cpu_quota_percent=0.01)))


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"netwrok": "host"}, "netwrok is not known"),
        ({"init": "yes"}, "init"),
        ({"pull": "always"}, "pull"),
        ({"ports": ["80"], "network": "bridge"}, "ports"),
        ({"ports": ["80:80"]}, 'network = "host" publishes none'),
        ({"ports": ["99999:80"], "network": "bridge"}, "ports"),
        ({"volumes": ["/data"]}, "volumes"),
        ({"network": "container:abc"}, "two daemons share none"),
    ],
)
def test_keys_of_the_platform(table: dict[str, Any], match: str) -> None:
    """A key that is not known or of no use is named, with what would be right."""
    with pytest.raises(PlatformConfigError, match=match):
        settings_of(config(platform=PlatformSection(container=table)))


def test_a_port_that_nobody_could_reach() -> None:
    """A check on loopback needs the port there: on the host's network, or published."""
    check = HealthCheckConfig(port=8080)
    plan(config(health_check=check))
    plan(
        config(
            health_check=check,
            platform=PlatformSection(container={"network": "bridge", "ports": ["8080:80"]}),
        )
    )
    with pytest.raises(PlatformConfigError, match=r"readiness\.port = 99"):
        ready = ReadinessConfig(kind=ReadinessKind.PORT, port=99)
        plan(config(readiness=ready, platform=PlatformSection(container={"network": "none"})))


@given(
    env=st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), TEXT), args=st.lists(TEXT), label=TEXT
)
def test_words_arrive_unharmed(env: dict[str, str], args: list[str], label: str) -> None:
    """Whatever stands in arguments and environment, it is one word of the request each, and comes back out of it."""
    made = plan(config(args=tuple(args), env=env))
    body = docker_body(made)
    back = dict(each.split("=", 1) for each in body["Env"])
    assert {key: back[key] for key in env} == {**env, **({"FROM": "starter"} if "FROM" in env else {})}
    assert body["Cmd"] == args
    words = ctr_arguments(msgspec.structs.replace(made, labels={"l": label}), "/log")
    assert words[-len(args) - 3 :] == [made.image, made.name, "/bin/true", *args]
    flags = words[: -len(args) - 3]
    assert f"l={label}" in flags
    given_env = [flags[at + 1] for at, word in enumerate(flags[:-1]) if word == "--env"]
    assert set(body["Env"]) <= set(given_env)


@given(path=TEXT.filter(lambda text: text and "\r" not in text), read_only=st.booleans())
def test_paths_of_mounts_survive_ctr(path: str, read_only: bool) -> None:
    """A path with commas or quotes is read back as it was by the csv reader that ctr uses."""
    made = msgspec.structs.replace(plan(config()), mounts=(Mount(f"/{path}", "/t", read_only),))
    words = ctr_arguments(made, "")
    fields = next(csv.reader([words[words.index("--mount") + 1]], strict=True)) if "\n" not in path else None
    if fields is not None:
        assert fields == [
            "type=bind",
            f"src=/{path}",
            "dst=/t",
            f"options=rbind:{'ro' if read_only else 'rw'}",
        ]


def test_what_ctr_cannot_do() -> None:
    """Another user is no matter of best effort; other limits are listed, each with its reason."""
    for fields in ({"user": "1000"}, {"platform": PlatformSection(container={"network": "blue"})}):
        with pytest.raises(PlatformConfigError, match="containerd"):
            plan(config(best_effort=True, **fields), Runtime.CONTAINERD)
    keys = {key for key, _, _ in ignored(config(), Facts(runtime=Runtime.CONTAINERD, version="1"))}
    assert keys == {
        "resources.memory_swap_bytes",
        "resources.pids_max",
        "logging.max_bytes",
        "logging.backups",
    }
    assert not list(ignored(config(), Facts(runtime=Runtime.DOCKER, version="1")))


def test_policies_that_are_exactly_the_runtimes() -> None:
    """A policy is delegated where the runtime does just that, and refused where it would do something else."""
    exact = RestartConfig(
        policy=RestartPolicy.ON_FAILURE,
        delegate=True,
        initial_delay=0.1,
        max_delay=60.0,
        stable_after=10.0,
        max_retries=10_000,
    )
    assert plan(config(restart=exact)).restart == ("on-failure", 0)
    for runtime, policy, free in (
        (Runtime.DOCKER, exact, True),
        (Runtime.DOCKER, msgspec.structs.replace(exact, jitter=0.1), False),
        (Runtime.DOCKER, msgspec.structs.replace(exact, max_retries=5), False),
        (Runtime.PODMAN, exact, False),
        (Runtime.PODMAN, msgspec.structs.replace(exact, initial_delay=0.0, max_delay=0.0), True),
        (Runtime.CONTAINERD, exact, False),
    ):
        found = [key for key, _, _ in ignored(config(restart=policy), Facts(runtime=runtime, version="1"))]
        assert ("restart.delegate" not in found) is free, (runtime, policy)


def test_output_to_nowhere() -> None:
    """No output is kept where none is wanted."""
    made = plan(config(logging=LoggingConfig(destination=LogDestination.NULL)))
    assert docker_body(made)["HostConfig"]["LogConfig"] == {"Type": "none", "Config": {}}
    assert "--null-io" in ctr_arguments(made, "")


def test_where_runtimes_are_looked_for() -> None:
    """The environment wins, a user's own Podman comes before the system's, a TCP address is nobody's socket."""
    assert candidates(Runtime.DOCKER, {"DOCKER_HOST": "unix:///x.sock"}, 0) == ["/x.sock"]
    assert "/run/docker.sock" in candidates(Runtime.DOCKER, {"DOCKER_HOST": "tcp://h:2375"}, 0)
    assert candidates(Runtime.PODMAN, {"XDG_RUNTIME_DIR": "/u"}, 1000)[0] == "/u/podman/podman.sock"
    assert candidates(Runtime.PODMAN, {}, 0)[0] == "/run/podman/podman.sock"
    assert candidates(Runtime.CONTAINERD, {"CONTAINERD_ADDRESS": "/c.sock"}, 0) == ["/c.sock"]
