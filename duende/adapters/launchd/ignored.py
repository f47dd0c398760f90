"""What launchd would not do: refused where somebody asked for it, unless `best_effort` lets it pass."""

from __future__ import annotations

from collections.abc import Iterator

from duende.adapters.native.ignored import asked, value_of
from duende.config.model import DaemonConfig, LogDestination, RestartPolicy
from duende.errors import PlatformConfigError
from duende.restart import UNLIMITED

_NO_KEY = "launchd has no key for it (launchd.plist(5))"
IGNORED = {
    "resources.memory_bytes": "macOS keeps a limit of memory and does not apply it to what malloc(3) maps (setrlimit(2))",
    "resources.memory_swap_bytes": _NO_KEY,
    "resources.cpu_quota_percent": _NO_KEY,
    "resources.cpu_shares": _NO_KEY,
    "resources.io_read_bps": _NO_KEY,
    "resources.io_write_bps": _NO_KEY,
    "resources.network_bps": _NO_KEY,
    "resources.disk_bytes": _NO_KEY,
    "resources.disk_folder": _NO_KEY,
    "resources.pids_max": "NumberOfProcesses counts all processes of the user, not those of the daemon",
    "resources.address_space_bytes": _NO_KEY,
    "security.no_new_privileges": _NO_KEY,
    "security.supplementary_groups": "launchd gives the groups that the user has, and no others (InitGroups)",
    "security.read_only_root": _NO_KEY,
    "security.writable_paths": _NO_KEY,
    "security.private_tmp": _NO_KEY,
    "security.drop_capabilities": "macOS has no capabilities",
    "security.add_capabilities": "macOS has no capabilities",
    "security.seccomp": "macOS filters system calls in another way (sandbox_init(3)), which is deprecated",
    "security.seccomp_deny": "macOS filters system calls in another way (sandbox_init(3)), which is deprecated",
    "security.network": _NO_KEY,
    "security.network_namespace": "macOS has no network namespaces",
    "security.readable_paths": _NO_KEY,
    "health_check.watchdog": "the manager asks by health checks instead",
}
"""Dotted key -> why launchd does nothing with it."""
_ROTATION = "launchd appends and never rotates (newsyslog(8))"
_REMEDY = "set best_effort = true to run without it, or use another platform"


def ignored(config: DaemonConfig) -> Iterator[tuple[str, str]]:
    """Keys that launchd would leave without effect, each with the reason; whether anybody asked for them or not."""
    yield from IGNORED.items()
    if config.logging.destination is LogDestination.FILE:
        yield "logging.max_bytes", _ROTATION
        yield "logging.backups", _ROTATION
    elif config.logging.destination is LogDestination.INHERIT:
        yield "logging.destination", "a job of launchd has no output to inherit"


def refuse_ignored(config: DaemonConfig) -> None:
    """Refuse what somebody asked for and launchd would not do. Defaults ask for nothing.

    Raises:
        PlatformConfigError: the first such key.
    """
    if config.best_effort:
        return
    _refuse_restart(config)
    for key, why in ignored(config):
        if asked(config, key):
            raise PlatformConfigError(
                f"cannot apply {key} = {value_of(config, key)!r} to {config.name!r} by launchd: {why}",
                remedy=_REMEDY,
            )


def delegated(config: DaemonConfig) -> bool:
    """Whether launchd is to restart it (KeepAlive), and not the manager."""
    restart = config.restart
    return restart.delegate and restart.policy is not RestartPolicy.NEVER and restart.max_retries > 0


def _refuse_restart(config: DaemonConfig) -> None:
    """With `restart.delegate` launchd must restart exactly when the policy does (launchd.plist(5), KeepAlive, ThrottleInterval)."""
    restart = config.restart
    if not restart.delegate or restart.policy is RestartPolicy.NEVER:
        return
    if restart.max_retries < UNLIMITED:
        key, why = "restart.max_retries", "launchd never gives up: 10000 or more says so"
    elif restart.jitter:
        key, why = "restart.jitter", "launchd spreads no delay"
    elif restart.multiplier != 1.0 and restart.initial_delay < restart.max_delay:
        key, why = "restart.multiplier", "launchd's delay is always the same: multiplier = 1 says so"
    elif restart.initial_delay < 1.0 or restart.initial_delay != int(restart.initial_delay):
        key, why = "restart.initial_delay", "ThrottleInterval is whole seconds, at least 1"
    else:
        return
    raise PlatformConfigError(
        f"cannot delegate restarts of {config.name!r} to launchd: {key} = {value_of(config, key)!r}: {why}",
        remedy="set restart.delegate = false, and the manager restarts it; or change the key; or set best_effort = true",
    )
