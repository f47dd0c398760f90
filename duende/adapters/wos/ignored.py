"""What WOS does not do: refused where somebody asked for it, unless `best_effort` lets it pass."""

from __future__ import annotations

from collections.abc import Iterator

from duende.adapters.native.ignored import asked, value_of
from duende.config.model import DaemonConfig, LogDestination
from duende.errors import PlatformConfigError

_NO_USERS = "WOS has no users"
_PRIORITY = "WOS shares the processor out by priority: see platform.wos.priority"
_IMPOSSIBLE = "a module has nothing that this could be about"
IGNORED = {
    "resources.memory_swap_bytes": "a module's memory is never swapped by WOS; memory_bytes limits all of it",
    "resources.cpu_quota_percent": _PRIORITY,
    "resources.cpu_shares": _PRIORITY,
    "resources.io_read_bps": "WOS does not count what is read",
    "resources.io_write_bps": "WOS does not count what is written",
    "resources.network_bps": "WOS does not count what is sent",
    "resources.disk_bytes": "WOS does not count what is kept",
    "resources.disk_folder": "WOS does not count what is kept",
    "resources.lock_memory": _IMPOSSIBLE,
    "resources.core_bytes": _IMPOSSIBLE,
    "resources.stack_bytes": "every process has the same stack",
    "resources.address_space_bytes": "memory_bytes limits it",
    "resources.nice": _PRIORITY,
    "security.umask": "files are made readable by their owner only",
    "security.supplementary_groups": _NO_USERS,
    "security.read_only_root": "leave fs:write out of platform.wos.capabilities instead",
    "security.writable_paths": "see platform.wos.folders",
    "security.private_tmp": "see platform.wos.folders",
    "security.drop_capabilities": "those are Linux's; see platform.wos.capabilities",
    "security.add_capabilities": "those are Linux's; see platform.wos.capabilities",
    "security.seccomp": "a module makes no system calls of Linux",
    "security.seccomp_deny": "a module makes no system calls of Linux",
    "security.network_namespace": "a module has no network but through platform.wos.capabilities",
    "security.network": "leave net out of platform.wos.capabilities instead",
    "security.readable_paths": "see platform.wos.folders",
    "health_check.watchdog": "the manager asks by health checks instead",
    "restart.delegate": "WOS restarts nothing",
    "user": _NO_USERS,
    "group": _NO_USERS,
    "logging.path": "WOS keeps the output itself: wos-ctl logs",
    "logging.backups": "WOS keeps the last bytes, in memory",
}
"""Dotted key -> why nothing comes of it."""


def ignored(config: DaemonConfig) -> Iterator[tuple[str, object, str]]:
    """Keys that somebody asked for and WOS leaves without effect: key, value, why."""
    for key, why in IGNORED.items():
        value = value_of(config, key) if "." in key else getattr(config, key)
        if asked(config, key) if "." in key else value is not None:
            yield key, value, why
    if config.logging.destination is LogDestination.INHERIT:
        yield "logging.destination", "inherit", "the output is kept by WOS, or nowhere (null)"


def refuse_ignored(config: DaemonConfig) -> None:
    """Refuse what somebody asked for and WOS would not do. Defaults ask for nothing.

    Raises:
        PlatformConfigError: the first such key.
    """
    if config.best_effort:
        return
    for key, value, why in ignored(config):
        raise PlatformConfigError(
            f"cannot apply {key} = {value!r} to {config.name!r} under WOS: {why}",
            remedy="leave it out, use another adapter, or set best_effort = true to run without it",
        )
