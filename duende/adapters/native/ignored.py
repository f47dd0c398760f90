"""What a plain process cannot be given: it is refused where somebody asked for it, unless `best_effort` lets it pass."""

from __future__ import annotations

from duende.config.model import DaemonConfig
from duende.errors import PlatformConfigError

IGNORED = {
    "health_check.watchdog": "the manager asks by health checks instead",
    "restart.delegate": "the kernel restarts nothing",
}
"""Dotted key -> why the native adapter does nothing with it."""
CONTROLLED = {
    "resources.memory_bytes": "memory",
    "resources.memory_swap_bytes": "memory",
    "resources.cpu_quota_percent": "cpu",
    "resources.cpu_shares": "cpu",
    "resources.pids_max": "pids",
    "resources.io_read_bps": "io",
    "resources.io_write_bps": "io",
}
"""Dotted key -> the controller of control groups that it needs (cgroup-v2.rst)."""
CONFINEMENT = ("security.seccomp", "security.seccomp_deny", "security.network", "security.readable_paths")
"""Keys that only a process itself can do, between fork and execve."""
BOUNDS = (
    "resources.disk_bytes",
    "resources.network_bps",
    "resources.disk_folder",
    "security.network_namespace",
)
"""Keys of limits that are no process's (`duende.adapters.bounds`): an adapter that does not set them refuses them."""
_DEFAULTS = DaemonConfig(name="defaults", binary_path="/")


def refuse_ignored(config: DaemonConfig) -> None:
    """Refuse what somebody asked for and nothing here would enforce, unless `best_effort` lets it pass. Defaults ask for nothing.

    Raises:
        PlatformConfigError: the first such key.
    """
    if config.best_effort:
        return
    found = dict(IGNORED)
    if config.user not in (None, "root", "0"):
        found["security.add_capabilities"] = "a process of another user than root is given none here"
    for key, why in found.items():
        if asked(config, key):
            raise PlatformConfigError(
                f"cannot apply {key} = {value_of(config, key)!r} to {config.name!r} natively: {why}",
                remedy="use the systemd or container adapter, or set best_effort = true to run without it",
            )


def asks_for_bounds(config: DaemonConfig) -> bool:
    """Whether a limit was asked for that `duende.adapters.bounds` sets; most daemons ask for none, and nothing is imported for them."""
    return bool(
        config.resources.disk_bytes
        or config.resources.network_bps
        or config.security.network_namespace is not None
    )


def asked(config: DaemonConfig, key: str) -> bool:
    """Whether somebody wrote it: a default swap is raised to a larger memory by reading the configuration."""
    if key == "resources.memory_swap_bytes":
        resources = config.resources
        return resources.memory_swap_bytes not in (
            _DEFAULTS.resources.memory_swap_bytes,
            resources.memory_bytes,
            0,
        )
    return value_of(config, key) != value_of(_DEFAULTS, key)


def value_of(config: DaemonConfig, key: str) -> object:
    """The value under a dotted key of two parts."""
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)
