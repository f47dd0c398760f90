"""The targets by name, and what becomes of a fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duende.config.model import DaemonConfig
from duende.errors import ConfigError
from duende.render.compose import compose
from duende.render.kubernetes import kubernetes
from duende.render.plist import plist
from duende.render.quadlet import quadlet
from duende.render.script import install_script
from duende.render.unit import unit_file
from duende.render.written import Rendered

One = Callable[..., Rendered]
ALONE: dict[str, One] = {
    "install-sh": install_script,
    "systemd": unit_file,
    "plist": plist,
    "quadlet": quadlet,
}
"""Targets of one file for each daemon."""
TOGETHER: dict[str, One] = {"compose": compose, "kubernetes": kubernetes}
"""Targets of one file for all."""
TARGETS = (*ALONE, *TOGETHER)


def render(config: DaemonConfig, target: str, *, python: str | None = None) -> Rendered:
    """One daemon as *target*; *python* is the interpreter of `Daemon` classes there.

    Raises:
        ConfigError: there is no such target, or nothing says what to run.
        PlatformConfigError: something was asked for that the target would not do, and `best_effort` is not set.
    """
    return render_fleet([config], target, python=python)[0]


def render_fleet(
    configs: Sequence[DaemonConfig], target: str, *, python: str | None = None
) -> list[Rendered]:
    """All of *configs* as *target*: one file, or one for each.

    Raises:
        ConfigError, PlatformConfigError: as for `render`; or there is no daemon at all.
    """
    if not configs:
        raise ConfigError("nothing to render: there is no daemon")
    options = {} if python is None else {"python": python}
    if target in TOGETHER:
        return [TOGETHER[target](configs, **options)]
    if target in ALONE:
        return [ALONE[target](config, **options) for config in configs]
    raise ConfigError(f"no target is called {target!r}", remedy=f"known: {', '.join(TARGETS)}")
