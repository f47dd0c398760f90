"""A Quadlet: a .container file that Podman 4.4 and newer makes a service of (podman-systemd.unit(5))."""

from __future__ import annotations

import msgspec

from duende.adapters.systemd.ignored import grows
from duende.adapters.systemd.render import RESTARTS, description_of, microseconds
from duende.config.model import DaemonConfig, LogDestination, RestartPolicy
from duende.render.containers import Boxed, added_capabilities, boxed, ignored, notes, refuse_device_limits
from duende.render.unitfile import argument, assemble, quoted, span
from duende.render.written import Note, Rendered, head, refuse_ignored
from duende.restart import UNLIMITED

Lines = list[tuple[str, str]]


def quadlet(config: DaemonConfig, *, python: str | None = None) -> Rendered:
    """The .container file of *config*.

    Raises:
        PlatformConfigError: something was asked for that Podman would not do, and `best_effort` is not set.
    """
    box = boxed(config, python=python)
    if box.bundle.files:
        config = msgspec.structs.replace(config, daemon=box.bundle.config.daemon)
    told = (
        *refuse_ignored(config, "quadlet", ignored(config)),
        *notes(config, "Podman"),
        *_notes(config, box),
    )
    unit: Lines = [("Description", description_of(config).replace("%", "%%"))]
    unit += [("Wants", "network-online.target"), ("After", "network-online.target")]
    restart = config.restart
    limited = 0 < restart.max_retries < UNLIMITED and restart.policy is not RestartPolicy.NEVER
    unit.append(("StartLimitIntervalSec", span(microseconds(restart.window)) if limited else "0"))
    if limited:
        unit.append(("StartLimitBurst", str(restart.max_retries + 1)))
    service: Lines = [("Restart", "no" if restart.max_retries == 0 else RESTARTS[restart.policy])]
    service += [
        ("RestartSec", span(microseconds(restart.initial_delay))),
        ("TimeoutStopSec", span(microseconds(config.shutdown_timeout + 10.0))),
    ]
    sections = (
        ("Unit", unit),
        ("Container", _container(config, box)),
        ("Service", service),
        ("Install", (("WantedBy", "multi-user.target default.target"),)),
    )
    text = assemble(head(config, "quadlet", told), sections)
    return Rendered(filename=f"duende-{config.name}.container", text=text, notes=told)


def _container(config: DaemonConfig, box: Boxed) -> Lines:
    security, settings = config.security, box.settings
    lines: Lines = [
        ("ContainerName", f"duende-{config.name}"),
        ("Image", box.image),
        ("Exec", " ".join(argument(word) for word in box.bundle.argv[1:])),
        ("Label", quoted(f"duende.daemon.name={config.name}")),
        ("Label", quoted(f"duende.daemon.version={config.version}")),
        ("Notify", "false"),
    ]
    lines += [("Environment", quoted(f"{key}={value}")) for key, value in sorted(config.env.items())]
    if config.env_file is not None:
        lines.append(("EnvironmentFile", config.env_file.replace("%", "%%")))
    lines += [("AddCapability", f"CAP_{name}") for name in added_capabilities(config)]
    if security.drop_capabilities:
        names = ["all" if name == "ALL" else f"CAP_{name}" for name in security.drop_capabilities]
        lines.append(("DropCapability", " ".join(names)))
    if security.no_new_privileges:
        lines.append(("NoNewPrivileges", "true"))
    if security.read_only_root:
        lines.append(("ReadOnly", "true"))
    if security.private_tmp:
        lines.append(("Tmpfs", "/tmp:rw,nosuid,nodev,mode=1777"))  # noqa: S108 (a mount point inside)
    if config.user is not None:
        lines.append(("User", config.user))
    if config.group is not None:
        lines.append(("Group", config.group))
    lines += [("Volume", quoted(f"{path}:{path}")) for path in security.writable_paths]
    lines += [("Volume", quoted(volume)) for volume in settings.volumes]
    lines += [("PublishPort", port) for port in settings.ports]
    if settings.network != "bridge":
        lines.append(("Network", settings.network))
    check = config.health_check
    if check.enabled and check.exec:
        lines += [
            ("HealthCmd", msgspec.json.encode(list(check.exec)).decode().replace("%", "%%")),
            ("HealthInterval", f"{max(1, round(check.interval))}s"),
            ("HealthTimeout", f"{max(1, round(check.timeout))}s"),
            ("HealthRetries", str(check.retries)),
        ]
    if config.logging.destination is LogDestination.NULL:
        lines.append(("LogDriver", "none"))
    # What Quadlet has no key for; podman-run(1) has.
    lines += [("PodmanArgs", argument(word)) for word in _arguments(config, box)]
    return lines


def _arguments(config: DaemonConfig, box: Boxed) -> list[str]:
    resources = config.resources
    refuse_device_limits(config, "quadlet")
    words = [f"--entrypoint={box.bundle.argv[0]}"]
    if resources.memory_bytes:
        words.append(f"--memory={resources.memory_bytes}b")
        if resources.memory_swap_bytes:
            words.append(f"--memory-swap={resources.memory_swap_bytes}b")
    words += [f"--cpus={resources.cpu_quota_percent / 100:g}", f"--cpu-shares={resources.cpu_shares}"]
    words += [
        f"--pids-limit={resources.pids_max}",
        f"--ulimit=nofile={resources.open_files_max}:{resources.open_files_max}",
    ]
    for name, value in (("core", resources.core_bytes), ("stack", resources.stack_bytes)):
        if value is not None:
            words.append(f"--ulimit={name}={value}:{value}")
    if resources.lock_memory:
        words.append("--ulimit=memlock=-1:-1")
    words += [f"--group-add={name}" for name in config.security.supplementary_groups]
    if config.working_dir is not None:
        words.append(f"--workdir={config.working_dir}")
    words.append(f"--stop-timeout={max(1, round(config.shutdown_timeout))}")
    if box.settings.init if box.settings.init is not None else config.daemon is None:
        words.append("--init")
    return words


def _notes(config: DaemonConfig, box: Boxed) -> list[Note]:
    found = []
    if box.bundle.files:
        paths = ", ".join(path for path, _ in box.bundle.files)
        found.append(Note("daemon", f"the image must have {paths} as well: Quadlet carries no files"))
    if config.restart.policy is not RestartPolicy.NEVER and grows(config):
        found.append(Note("restart.multiplier", f"every restart waits {config.restart.initial_delay:g} s"))
    if config.health_check.enabled and config.health_check.port is not None:
        found.append(
            Note("health_check.port", "a container's health check is a program: give health_check.exec")
        )
    return found
