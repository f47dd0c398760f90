"""What a microVM cannot be given: it is refused where somebody asked for it, unless `best_effort` lets it pass."""

from __future__ import annotations

from collections.abc import Iterator

from duende.adapters.native.ignored import BOUNDS, CONFINEMENT, value_of
from duende.config.model import DaemonConfig, LogDestination
from duende.errors import PlatformConfigError

_DEFAULTS = DaemonConfig(name="defaults", binary_path="/")


def ignored(config: DaemonConfig) -> Iterator[tuple[str, object, str]]:
    """(dotted key, value, why) of each setting that was asked for and would have no effect here."""
    resources, security = config.resources, config.security
    for name in ("io_read_bps", "io_write_bps"):
        if getattr(resources, name):
            yield f"resources.{name}", getattr(resources, name), "pepita limits no disk of a guest"
    if security.read_only_root:
        yield (
            "security.read_only_root",
            True,
            "what a guest writes is gone with it, and pepita mounts no root read-only",
        )
    if security.writable_paths:
        yield "security.writable_paths", security.writable_paths, "every path of a guest is writable"
    for name in ("drop_capabilities", "add_capabilities"):
        if getattr(security, name):
            yield (
                f"security.{name}",
                getattr(security, name),
                "pepita changes no capabilities: root of a guest has all",
            )
    for key in CONFINEMENT:
        if asked(config, key):
            yield key, value_of(config, key), "what runs in a guest is confined by the guest"
    for key in BOUNDS:
        if asked(config, key):
            yield key, value_of(config, key), "a guest has no disk and no network of this host"
    if config.health_check.watchdog:
        yield (
            "health_check.watchdog",
            config.health_check.watchdog,
            "pepita keeps no watchdog; the manager asks by health checks",
        )
    if config.health_check.port is not None:
        yield (
            "health_check.port",
            config.health_check.port,
            "a guest has no network; use exec, or platform.pepita.forward",
        )
    if config.readiness.port is not None:
        yield "readiness.port", config.readiness.port, "a guest has no network; use notify, exec or log-line"
    if config.logging.destination is LogDestination.INHERIT:
        yield (
            "logging.destination",
            config.logging.destination.value,
            "pepita keeps the output in a file of its own; use file",
        )
    if config.logging.path is not None:
        yield "logging.path", config.logging.path, "pepita keeps the output in a place of its own"
    if config.restart.delegate:
        yield "restart.delegate", True, "pepita restarts nothing"


def asked(config: DaemonConfig, key: str) -> bool:
    """Whether somebody wrote it."""
    section, _, name = key.partition(".")
    return bool(getattr(getattr(config, section), name) != getattr(getattr(_DEFAULTS, section), name))


def refuse_ignored(config: DaemonConfig) -> None:
    """Refuse what somebody asked for and nothing here would do, unless `best_effort` lets it pass.

    Raises:
        PlatformConfigError: the first such key.
    """
    if config.best_effort:
        return
    for key, value, why in ignored(config):
        if asked(config, key):
            raise PlatformConfigError(
                f"cannot apply {key} = {value!r} to {config.name!r} with pepita: {why}",
                remedy="leave it out, use another adapter, or set best_effort = true to run without it",
            )
