"""What this systemd, on this host, would not do: refused where somebody asked for it, unless `best_effort` lets it pass."""

from __future__ import annotations

from collections.abc import Iterator

from duende.adapters.native.ignored import CONTROLLED, asked, value_of
from duende.adapters.systemd.facts import GRADUAL_RESTARTS, Facts
from duende.config.model import DaemonConfig, LogDestination, RestartPolicy
from duende.errors import PlatformConfigError

_REMEDY = "set best_effort = true to run without it, or use another adapter"


def ignored(config: DaemonConfig, facts: Facts) -> Iterator[tuple[str, str]]:
    """Keys that this systemd would leave without effect, each with the reason; whether anybody asked for them or not."""
    for key, controller in CONTROLLED.items():
        if facts.lacks(controller):
            whose = "a user's systemd here has not" if facts.user else "this host has not"
            yield key, f"it needs the cgroup controller {controller}, which {whose}"
    if not facts.unified and not facts.lacks("memory"):
        yield "resources.memory_swap_bytes", "systemd limits swap on cgroup v2 only"
    if not facts.disks and not facts.lacks("io"):
        for key in ("resources.io_read_bps", "resources.io_write_bps"):
            yield key, "no disk of this host could be found"
    if config.logging.destination is LogDestination.FILE:
        why = (
            "the journal has its own limits"
            if config.logging.path is None
            else "systemd appends and never rotates"
        )
        yield "logging.max_bytes", f"{why} (journald.conf(5), logrotate(8))"
        yield "logging.backups", f"{why} (journald.conf(5), logrotate(8))"
    yield (
        "security.readable_paths",
        "systemd has no landlock, and hides paths only one by one (InaccessiblePaths=); the native adapter does it",
    )
    if facts.user and (config.resources.nice or 0) < 0:
        yield "resources.nice", "a user's systemd may not go below 0, and takes the nearest it may in silence"
    if facts.user:
        for key in (
            "security.read_only_root",
            "security.writable_paths",
            "security.private_tmp",
            "security.network_namespace",
        ):
            yield key, "a user's systemd may not make a mount namespace, and leaves it out in silence"


def refuse_ignored(config: DaemonConfig, facts: Facts) -> None:
    """Refuse what somebody asked for and this systemd would not do. Defaults ask for nothing.

    Raises:
        PlatformConfigError: the first such key.
    """
    _refuse_restart(config, facts)
    _refuse_identity(config, facts)
    if config.best_effort:
        return
    for key, why in ignored(config, facts):
        if asked(config, key):
            raise PlatformConfigError(
                f"cannot apply {key} = {value_of(config, key)!r} to {config.name!r} by systemd: {why}",
                remedy=_REMEDY,
            )


def _refuse_restart(config: DaemonConfig, facts: Facts) -> None:
    """With `restart.delegate` systemd must do exactly the policy (systemd.service(5), Restart=, RestartSec=, RestartSteps=)."""
    restart = config.restart
    if not restart.delegate or restart.policy is RestartPolicy.NEVER or config.best_effort:
        return
    if restart.jitter:
        key, why = "restart.jitter", "systemd spreads no delay"
    elif restart.max_retries == 0:
        key, why = "restart.max_retries", "systemd has no Restart= that never restarts but the policy never"
    elif grows(config):
        key, why = "restart.multiplier", _backoff_problem(facts)
    else:
        return
    raise PlatformConfigError(
        f"cannot delegate restarts of {config.name!r} to systemd {facts.version}: {key} = {value_of(config, key)!r}: {why}",
        remedy="set restart.delegate = false, and the manager restarts it; or change the key; or set best_effort = true",
    )


def grows(config: DaemonConfig) -> bool:
    """Whether the delay between restarts is not always the same."""
    restart = config.restart
    return restart.multiplier != 1.0 and 0.0 < restart.initial_delay < restart.max_delay


def _backoff_problem(facts: Facts) -> str:
    if facts.version < GRADUAL_RESTARTS:
        return (
            f"growing delays need systemd {GRADUAL_RESTARTS} (RestartSteps=); multiplier = 1 gives equal ones"
        )
    return "the delays of RestartSteps= are not reset by a stable run (restart.stable_after); multiplier = 1 gives equal ones"


def _refuse_identity(config: DaemonConfig, facts: Facts) -> None:
    """A user's systemd cannot become somebody else: it would fail as 216/GROUP or 217/USER at the start."""
    if facts.user:
        for key, value in (("user", config.user), ("group", config.group)):
            if value is not None and not (key == "user" and value == str(facts.uid)):
                raise PlatformConfigError(
                    f"cannot run {config.name!r} as {key} {value!r}: a user's systemd changes neither user nor group",
                    remedy="use the system's systemd (user=False, as root), or leave it out",
                )
