"""The daemons of a file that a command is for."""

from __future__ import annotations

from duende.config.load import load_fleet
from duende.config.model import DaemonConfig
from duende.errors import ConfigError, NotFoundError


def chosen(path: str, name: str | None = None) -> list[DaemonConfig]:
    """All daemons of the file or folder *path*, or the one called *name*.

    Raises:
        ConfigError: one of them has a mistake.
        NotFoundError: none has that name.
    """
    found = load_fleet(path)
    if name is not None:
        found = [(each, config) for each, config in found if each == name]
        if not found:
            raise NotFoundError(f"no daemon {name!r} in {path}", remedy=f"duende validate {path} lists them")
    configs = []
    for _, config in found:
        if isinstance(config, ConfigError):
            raise config
        configs.append(config)
    return configs
