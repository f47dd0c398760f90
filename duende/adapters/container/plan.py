"""From a configuration to a `Plan`: every decision about a container, pure but for reading an env_file and the clock of nobody."""

from __future__ import annotations

import os
import re

import msgspec

from duende.adapters.container import source
from duende.adapters.container.engine import Facts, Health, Mount, Plan, Runtime
from duende.adapters.container.settings import Settings, ports_of, volumes_of
from duende.adapters.contract import SpawnRequest
from duende.config.model import (
    DaemonConfig,
    LogDestination,
    ReadinessKind,
    RestartPolicy,
    readiness_of,
)
from duende.errors import ConfigError, PlatformConfigError

LABEL_ID = "duende.daemon.id"
LABEL_VERSION = "duende.daemon.version"
LABEL_NAME = "duende.daemon.name"
LABEL_CONFIG = "duende.daemon.config"
CPU_PERIOD = 100_000
"""Microseconds: the kernel's own default (sched-bwc.rst)."""
CPU_PERIOD_LONG = 1_000_000
"""The longest period; a quota of the smallest size, 1 ms, is then 0.1 % of a core."""
CPU_QUOTA_LEAST = 1000
RESTARTS = {
    RestartPolicy.NEVER: "no",
    RestartPolicy.ON_FAILURE: "on-failure",
    RestartPolicy.ALWAYS: "always",
    RestartPolicy.UNLESS_STOPPED: "unless-stopped",
}
RUN = "from duende.host.main import main; sys.exit(main(sys.argv[1:]))"
_PREPARE = "import sys; sys.path.insert(0, sys.argv.pop(1)); "
_MATCH = (
    "sys.version_info[:2] == {version} or sys.exit('duende: the image has Python %d.%d, and {text} is mounted from the host: '"
    " 'use an image with Python {text}, or one that has duende and platform.container.mount_source = false' % sys.version_info[:2]); "
)
"""Compiled modules of one minor version do not load in another; said before the import fails in words nobody understands."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What this host adds to a configuration."""

    image: str
    notify_dir: str = ""
    """Folder of the socket for readiness."""
    daemon_dir: str = ""
    """Folder of the daemon's health socket."""
    device: str = ""
    """The block device that I/O limits are for; empty where it is not known."""
    python: tuple[int, int] = (3, 11)
    """The version of the interpreter whose modules are mounted."""
    nproc: int = 0
    """RLIMIT_NPROC of this process for Podman, which would set its own; 0 leaves it."""
    log_path: str = ""
    """Where containerd is to write the output."""
    file_env: dict[str, str] = {}
    """What env_file says."""
    seccomp: str = ""
    """The profile of system calls as the runtime takes it: as text, or the path of a file; empty for the runtime's own."""


def container_name(name: str, daemon_id: str) -> str:
    """`duende-<name>-<short id>`; runtimes take [a-zA-Z0-9][a-zA-Z0-9_.-]*, and names here are within that."""
    return f"duende-{name}-{daemon_id[:8]}"


def plan_of(
    request: SpawnRequest, settings: Settings, facts: Facts, place: Place, found: source.Source | None
) -> Plan:
    """The container for *request*; *found* says where its class is, None for a program or an image that has it.

    Raises:
        ConfigError: nothing says what to run.
        PlatformConfigError: a container cannot be made so.
    """
    config, resources = request.config, request.config.resources
    _check_ports(config, settings)
    if facts.runtime is Runtime.CONTAINERD:
        _check_ctr(config, settings)
    quota, period = cpu_of(config)
    env, argv = _what_to_run(request, settings, place, found)
    init = settings.init if settings.init is not None else config.daemon is None
    return Plan(
        name=container_name(config.name, request.daemon_id),
        image=place.image,
        argv=argv,
        env=env,
        labels={
            LABEL_ID: request.daemon_id,
            LABEL_VERSION: config.version,
            LABEL_NAME: config.name,
            LABEL_CONFIG: request.config_hash,
        },
        working_dir=config.working_dir or "",
        user=user_of(config),
        groups=config.security.supplementary_groups,
        memory=resources.memory_bytes,
        memory_swap=resources.memory_swap_bytes,
        cpu_quota=quota,
        cpu_period=period,
        cpu_shares=resources.cpu_shares,
        pids=resources.pids_max,
        read_bps=_throttle(config, "io_read_bps", place),
        write_bps=_throttle(config, "io_write_bps", place),
        ulimits=_ulimits(config, facts, place),
        add_capabilities=_added(config),
        drop_capabilities=config.security.drop_capabilities,
        # Without it runtimes put the filter on before they give up their rights, which no profile leaves them the calls for.
        no_new_privileges=config.security.no_new_privileges or bool(place.seccomp),
        seccomp=place.seccomp,
        read_only=config.security.read_only_root,
        tmpfs=("/tmp",) if config.security.private_tmp else (),  # noqa: S108  (a mount point inside)
        mounts=_mounts(config, settings, place, found),
        health=_health(config) if facts.runtime is Runtime.DOCKER else None,
        restart=_restart(config),
        stop_timeout=max(1, round(config.shutdown_timeout)),
        log_driver="none" if config.logging.destination is LogDestination.NULL else _driver(facts),
        log_options=_log_options(config, facts, place),
        network=settings.network,
        ports=tuple(ports_of(settings)),
        init=init and facts.runtime is not Runtime.CONTAINERD,
        oci_runtime=settings.runtime or "",
    )


def _check_ports(config: DaemonConfig, settings: Settings) -> None:
    published = {host for _, host, _, _ in ports_of(settings)}
    for key, port in (
        ("health_check.port", config.health_check.port),
        ("readiness.port", config.readiness.port),
    ):
        if port is not None and settings.network != "host" and port not in published:
            raise PlatformConfigError(
                f"cannot start {config.name!r}: {key} = {port} is looked for on loopback, and network = {settings.network!r} keeps it inside",
                remedy=f'publish it by platform.container.ports = ["127.0.0.1:{port}:{port}"] on "bridge", or use network = "host"',
            )


def _check_ctr(config: DaemonConfig, settings: Settings) -> None:
    """Refuse what `ctr` cannot do and a daemon must not be without, whatever best_effort says: another user, other addresses."""
    wrong = ""
    if config.user not in (None, "0", "root") or config.group not in (None, "0", "root"):
        wrong = "user and group: ctr run has no argument for them, and root is no approximation"
    elif settings.ports:
        wrong = "platform.container.ports: ctr publishes none"
    elif settings.network not in ("host", "none", "bridge"):
        wrong = f"platform.container.network = {settings.network!r}: ctr knows host, none and bridge (CNI)"
    elif settings.init:
        wrong = "platform.container.init: containerd has no init to give"
    if wrong:
        raise PlatformConfigError(
            f"cannot start {config.name!r} with containerd: {wrong}",
            remedy="leave it out, or use Docker or Podman",
        )


def cpu_of(config: DaemonConfig) -> tuple[int, int]:
    """(quota, period) in microseconds.

    Raises:
        PlatformConfigError: the quota is below what the kernel counts.
    """
    percent = config.resources.cpu_quota_percent
    for period in (CPU_PERIOD, CPU_PERIOD_LONG):
        quota = round(percent * period / 100)
        if quota >= CPU_QUOTA_LEAST:
            return quota, period
    raise PlatformConfigError(
        f"cannot start {config.name!r}: resources.cpu_quota_percent = {percent:g} is below what the kernel can count",
        remedy="use 0.1 or more",
    )


def _what_to_run(
    request: SpawnRequest, settings: Settings, place: Place, found: source.Source | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    config = request.config
    env = {
        **place.file_env,
        **config.env,
        "DUENDE_DAEMON_ID": request.daemon_id,
        "DUENDE_DAEMON_NAME": config.name,
    }
    env.update(request.env)
    if readiness_of(config) is ReadinessKind.NOTIFY:
        env["NOTIFY_SOCKET"] = f"{source.NOTIFY}/{source.NOTIFY_SOCKET}"
    if config.daemon is None:
        if config.binary_path is None:
            raise ConfigError(
                f"cannot start {config.name!r}: neither binary_path nor daemon is set",
                remedy="set one of the two",
            )
        return env, (config.binary_path, *config.args)
    env["DUENDE_SOCKET"] = f"{source.RUNTIME}/{source.DAEMON_SOCKET}"
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("PYTHONDONTWRITEBYTECODE", "1")  # its sources are mounted read-only
    target = found.target if found is not None else config.daemon
    if found is not None and any(mount.target == source.APPLICATION for mount in found.mounts):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (source.APPLICATION, env.get("PYTHONPATH", ""))))
    inside = msgspec.structs.replace(config, daemon=target)
    text = ".".join(map(str, place.python))
    start = _PREPARE + _MATCH.format(version=place.python, text=text) if found is not None else "import sys; "
    if config.security.umask is not None:
        start += f"import os; os.umask({config.security.umask:d}); "
    if config.resources.nice is not None:
        start += f"import os; os.setpriority(os.PRIO_PROCESS, 0, {config.resources.nice:d}); "
    library = (source.LIBRARY,) if found is not None else ()
    encoded = msgspec.json.encode(inside).decode()
    return env, (settings.python, "-c", start + RUN, *library, target, "--config-json", encoded)


def user_of(config: DaemonConfig) -> str:
    """User and group as runtimes write them: "user:group", either alone, or nothing."""
    if config.user is None:
        return f"0:{config.group}" if config.group is not None else ""
    return f"{config.user}:{config.group}" if config.group is not None else config.user


def _throttle(config: DaemonConfig, key: str, place: Place) -> tuple[tuple[str, int], ...]:
    value = getattr(config.resources, key)
    if not value:
        return ()
    if not place.device:
        if config.best_effort:
            return ()
        raise PlatformConfigError(
            f"cannot apply resources.{key} = {value} to {config.name!r}: the device of the runtime's folder is not known here",
            remedy="leave it out, or set best_effort = true",
        )
    return ((place.device, value),)


def _ulimits(config: DaemonConfig, facts: Facts, place: Place) -> dict[str, int]:
    resources = config.resources
    found = {"nofile": resources.open_files_max}
    if resources.core_bytes is not None:
        found["core"] = resources.core_bytes
    if resources.stack_bytes is not None:
        found["stack"] = resources.stack_bytes
    if resources.lock_memory and config.user not in (None, "0", "root"):
        found[
            "memlock"
        ] = -1  # capabilities of other users than root have no effect (capabilities(7), ambient set)
    if facts.runtime is Runtime.PODMAN and place.nproc:
        found["nproc"] = place.nproc
    return found


def _added(config: DaemonConfig) -> tuple[str, ...]:
    added = config.security.add_capabilities
    if config.resources.lock_memory and "IPC_LOCK" not in added:
        added = (*added, "IPC_LOCK")
    if (config.resources.nice or 0) < 0 and config.daemon is not None and "SYS_NICE" not in added:
        added = (*added, "SYS_NICE")
    return added


def _mounts(
    config: DaemonConfig, settings: Settings, place: Place, found: source.Source | None
) -> tuple[Mount, ...]:
    mounts = list(found.mounts) if found is not None else []
    if place.notify_dir and readiness_of(config) is ReadinessKind.NOTIFY:
        mounts.append(Mount(place.notify_dir, source.NOTIFY, True))
    if place.daemon_dir and config.daemon is not None:
        mounts.append(Mount(place.daemon_dir, source.RUNTIME))
    if config.daemon is not None and config.config_path is not None:
        path = os.path.abspath(config.config_path)
        mounts.append(Mount(path, path, True))
    mounts += [Mount(path, path) for path in config.security.writable_paths]
    mounts += [Mount(*volume) for volume in volumes_of(settings)]
    return tuple(mounts)


def _health(config: DaemonConfig) -> Health | None:
    check = config.health_check
    if not check.enabled or not check.exec:
        return None
    return Health(argv=check.exec, interval=check.interval, timeout=check.timeout, retries=check.retries)


def _restart(config: DaemonConfig) -> tuple[str, int]:
    """The runtime's policy; `ignored` has refused what it would not follow exactly, so retries have no limit here."""
    return (RESTARTS[config.restart.policy], 0) if config.restart.delegate else ("no", 0)


def _driver(facts: Facts) -> str:
    return "k8s-file" if facts.runtime is Runtime.PODMAN else "json-file"


def _log_options(config: DaemonConfig, facts: Facts, place: Place) -> dict[str, str]:
    if config.logging.destination is LogDestination.NULL:
        return {}
    if facts.runtime is Runtime.CONTAINERD:
        return {"path": place.log_path}
    options = {"max-size": str(config.logging.max_bytes)}
    if facts.runtime is Runtime.DOCKER:
        options["max-file"] = str(config.logging.backups + 1)
    return options


def missing_path(text: str) -> str:
    """The host path that a runtime says it cannot mount, empty where it says something else."""
    found = re.search(r"bind source path does not exist: (\S+)|statfs (\S+): no such file", text)
    return next(filter(None, found.groups()), "") if found else ""
