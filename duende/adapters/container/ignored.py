"""What a container runtime cannot be given: it is refused where somebody asked for it, unless `best_effort` lets it pass."""

from __future__ import annotations

from collections.abc import Iterator

from duende.adapters.container.engine import Facts, Runtime
from duende.adapters.native.ignored import BOUNDS, value_of
from duende.config.model import DaemonConfig, LogDestination, RestartConfig, RestartPolicy
from duende.errors import PlatformConfigError

CTR_OPEN_FILES = 1024
"""RLIMIT_NOFILE of containerd's default specification (oci/spec.go)."""
NO_WINDOW = 10_000
"""`restart.max_retries` from which on there is no limit: the runtimes count retries for ever, not within a window."""
DOCKER_BACKOFF = {"initial_delay": 0.1, "multiplier": 2.0, "max_delay": 60.0, "stable_after": 10.0}
"""restartmanager.go of Docker 20.10: 100 ms, doubled up to a minute, from the start again after a run of ten seconds."""
PODMAN_BACKOFF = {"initial_delay": 0.0, "max_delay": 0.0}
"""podman-run(1): a container that is restarted by policy is restarted at once."""
_DEFAULTS = DaemonConfig(name="defaults", binary_path="/")


def ignored(config: DaemonConfig, facts: Facts) -> Iterator[tuple[str, object, str]]:
    """(dotted key, value, why) of each setting that was asked for, or is a limit by default, and would have no effect here."""
    resources, security = config.resources, config.security
    program = config.daemon is None
    if resources.address_space_bytes is not None:
        yield "resources.address_space_bytes", resources.address_space_bytes, "runtimes set no RLIMIT_AS"
    if program and resources.nice is not None:
        yield (
            "resources.nice",
            resources.nice,
            "runtimes set no niceness, and only a Daemon class sets its own",
        )
    if program and security.umask is not None:
        yield (
            "security.umask",
            f"{security.umask:04o}",
            "runtimes set no umask, and only a Daemon class sets its own",
        )
    if security.readable_paths:
        why = "a container sees its image and what is mounted into it, and nothing else"
        yield "security.readable_paths", security.readable_paths, why
    if security.seccomp is None and security.seccomp_deny:
        why = "the runtime's own filter would be replaced by a wider one; name a profile in security.seccomp too"
        yield "security.seccomp_deny", security.seccomp_deny, why
    for key in BOUNDS:
        if asked(config, key):
            yield (
                key,
                value_of(config, key),
                "engines have no such limit; the native and systemd adapters set it",
            )
    if config.health_check.watchdog:
        yield (
            "health_check.watchdog",
            config.health_check.watchdog,
            "no runtime keeps a watchdog; the manager asks by health checks",
        )
    if config.logging.destination is LogDestination.INHERIT:
        yield "logging.destination", "inherit", "a runtime keeps the output itself; use file or null"
    if config.logging.path is not None:
        yield "logging.path", config.logging.path, "a runtime keeps the output in a place of its own"
    if config.restart.delegate and (why := _delegate(config.restart, facts.runtime)):
        yield "restart.delegate", True, why
    for key in sorted(facts.missing):
        name = key.partition(".")[2]
        value = getattr(resources, name)
        if value:
            yield key, value, f"{facts.runtime.value} says that this kernel cannot limit it"
    if facts.runtime is Runtime.CONTAINERD:
        yield from _ctr(config)


def _ctr(config: DaemonConfig) -> Iterator[tuple[str, object, str]]:
    """What `ctr run` 1.6 has no argument for."""
    resources, security = config.resources, config.security
    for name in ("memory_swap_bytes", "pids_max", "io_read_bps", "io_write_bps", "core_bytes", "stack_bytes"):
        if getattr(resources, name):
            yield f"resources.{name}", getattr(resources, name), "ctr has no argument for it"
    if security.supplementary_groups:
        yield "security.supplementary_groups", security.supplementary_groups, "ctr has no argument for it"
    if resources.open_files_max != CTR_OPEN_FILES:
        yield (
            "resources.open_files_max",
            resources.open_files_max,
            f"ctr has no argument for it and sets {CTR_OPEN_FILES}",
        )
    if config.logging.destination is LogDestination.FILE:
        why = "containerd writes one file that nobody rotates"
        yield "logging.max_bytes", config.logging.max_bytes, why
        yield "logging.backups", config.logging.backups, why


def _delegate(restart: RestartConfig, runtime: Runtime) -> str:
    """Why *runtime* would not follow exactly this policy; empty when it would."""
    if runtime is Runtime.CONTAINERD:
        return "ctr has no restart policy"
    if restart.policy is RestartPolicy.NEVER:
        return ""
    if restart.max_retries < NO_WINDOW:
        return (
            f"{runtime.value} counts retries for ever, not within a window: max_retries must be {NO_WINDOW}"
        )
    wanted = DOCKER_BACKOFF if runtime is Runtime.DOCKER else PODMAN_BACKOFF
    wrong = [f"{key} = {value:g}" for key, value in wanted.items() if getattr(restart, key) != value]
    if restart.jitter:
        wrong.append("jitter = 0")
    return f"{runtime.value}'s own policy needs {', '.join(wrong)}" if wrong else ""


def asked(config: DaemonConfig, key: str) -> bool:
    """Whether somebody wrote it, or it is a default; a default swap is raised to a larger memory by reading the configuration."""
    section, _, name = key.partition(".")
    value = getattr(getattr(config, section), name)
    if key == "resources.memory_swap_bytes":
        return value not in (
            _DEFAULTS.resources.memory_swap_bytes,
            config.resources.memory_bytes,
            0,
        )
    return bool(value != getattr(getattr(_DEFAULTS, section), name))


def refuse_ignored(config: DaemonConfig, facts: Facts) -> None:
    """Refuse what somebody asked for and nothing here would do, unless `best_effort` lets it pass. Defaults ask for nothing.

    Raises:
        PlatformConfigError: the first such key.
    """
    if config.best_effort:
        return
    for key, value, why in ignored(config, facts):
        if asked(config, key):
            raise PlatformConfigError(
                f"cannot apply {key} = {value!r} to {config.name!r} with {facts.runtime.value}: {why}",
                remedy="leave it out, use another adapter, or set best_effort = true to run without it",
            )
