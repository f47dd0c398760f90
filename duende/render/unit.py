"""A service unit that lives without duende's manager: systemd starts, limits, restarts and stops the daemon by itself."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from duende.adapters.native.ignored import asked
from duende.adapters.systemd.facts import Facts
from duende.adapters.systemd.ignored import grows
from duende.adapters.systemd.render import description_of, settings_of
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.render.bundle import PYTHON, Bundle, bundle_of
from duende.render.unitfile import argument, assemble, lines_of, quoted
from duende.render.written import Note, Rendered, head, refuse_ignored

ASSUMED = Facts(version=252, unified=True, disks=("/",))
"""The systemd that is written for: that of Debian 12. Limits of input and output are for the disk of the root file system: where a
path names no device, systemd takes that of its file system (systemd.resource-control(5))."""
RUNTIME = "/run/duende"
NOT_OURS = frozenset({"RemainAfterExit"})
"""What a transient unit needs so that its exit code is not lost before the manager reads it."""


def unit_file(config: DaemonConfig, *, python: str = PYTHON) -> Rendered:
    """The unit of *config*; a class in a file is run where the file lies.

    Raises:
        PlatformConfigError: something was asked for that systemd would not do, and `best_effort` is not set.
    """
    return unit_of(config, bundle_of(config, python=python, carry=False))


def unit_of(config: DaemonConfig, bundle: Bundle) -> Rendered:
    """The unit of *config* that runs what *bundle* says.

    Raises:
        PlatformConfigError: as for `unit_file`.
    """
    notes = (*refuse_ignored(config, "systemd", _ignored(config)), *_notes(config))
    unit: list[tuple[str, str]] = [
        ("Description", description_of(config).replace("%", "%%")),
        ("After", "network.target"),
    ]
    service: list[tuple[str, str]] = [
        ("ExecStart", " ".join(argument(word) for word in _argv(config, bundle)))
    ]
    service += [("Environment", quoted(f"{key}={value}")) for key, value in sorted(config.env.items())]
    if config.env_file is not None:
        service.append(("EnvironmentFile", config.env_file.replace("%", "%%")))
    service += [
        ("SyslogIdentifier", config.name),
        ("WorkingDirectory", (config.working_dir or "/").replace("%", "%%")),
    ]
    if config.daemon is not None:
        service.append(("RuntimeDirectory", f"duende/{config.name}"))
    if config.config_path is not None or config.daemon is not None:
        service.append(("ExecReload", "/bin/kill -HUP $MAINPID"))
    for name, value in _settings(config):
        (unit if name.startswith("StartLimit") else service).append((name, value))
    sections = (("Unit", unit), ("Service", service), ("Install", (("WantedBy", "multi-user.target"),)))
    text = assemble(head(config, "systemd", notes), sections)
    return Rendered(filename=f"duende-{config.name}.service", text=text, notes=notes)


def _argv(config: DaemonConfig, bundle: Bundle) -> tuple[str, ...]:
    if config.daemon is None:
        return bundle.argv
    return (*bundle.argv, "--socket", f"{RUNTIME}/{config.name}/health.sock")


def _settings(config: DaemonConfig) -> list[tuple[str, str]]:
    own = f"{RUNTIME}/{config.name}"  # RuntimeDirectory= makes it, and lets it be written to
    restart = msgspec.structs.replace(config.restart, delegate=True)
    lines = lines_of(settings_of(msgspec.structs.replace(config, restart=restart), ASSUMED, own))
    kept = []
    for name, value in lines:
        paths = value
        if name == "ReadWritePaths" and config.daemon is not None:
            paths = " ".join(quoted(path) for path in config.security.writable_paths)
        if name not in NOT_OURS and (paths or name != "ReadWritePaths"):
            kept.append((name, paths))
    return kept


def _ignored(config: DaemonConfig) -> Iterator[tuple[str, str]]:
    for key in ("health_check.exec", "health_check.port"):
        yield key, "systemd runs no health checks; health_check.watchdog is its own way"
    for key in ("resources.disk_bytes", "resources.disk_folder", "resources.network_bps"):
        yield key, "systemd has no such limit; duende's own manager sets it"
    yield "security.readable_paths", "systemd has no landlock, and hides paths only one by one"
    if config.logging.destination is LogDestination.FILE:
        why = "the journal, or logrotate(8), has limits of its own"
        yield "logging.max_bytes", why
        yield "logging.backups", why


def _notes(config: DaemonConfig) -> Iterator[Note]:
    restart = config.restart
    if restart.policy is not RestartPolicy.NEVER:
        if grows(config):
            yield Note(
                "restart.multiplier",
                f"every restart waits {restart.initial_delay:g} s: growing delays need systemd 254 (RestartSteps=)",
            )
        if restart.jitter:
            yield Note("restart.jitter", "systemd spreads no delay")
        if restart.max_retries == 0:
            yield Note("restart.max_retries", "0 is written as Restart=no")
    if readiness_of(config) in (ReadinessKind.PORT, ReadinessKind.EXEC, ReadinessKind.LOG_LINE):
        yield Note("readiness.kind", "systemd counts it as started once the program was executed (Type=exec)")
    if asked(config, "resources.memory_swap_bytes"):
        yield Note("resources.memory_swap_bytes", "MemorySwapMax= has an effect on cgroup v2 only")
    if config.pid_file is not None:
        yield Note("pid_file", "none is written: systemd knows the main process itself")
