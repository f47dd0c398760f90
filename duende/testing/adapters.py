"""Adapters by the names that people write in a test run: native, systemd, docker, podman, containerd, ..., fake; and what they are to start."""

from __future__ import annotations

from typing import Any

import msgspec

from duende.adapters.choose import select_adapter
from duende.adapters.contract import Platform, PlatformAdapter
from duende.config.model import DaemonConfig
from duende.daemon import Daemon
from duende.errors import ConfigError

NAMES: dict[str, tuple[Platform, dict[str, Any]]] = {
    "native": (Platform.NATIVE, {}),
    "systemd": (Platform.LINUX, {}),
    "launchd": (Platform.MACOS, {}),
    "container": (Platform.CONTAINER, {}),
    "docker": (Platform.CONTAINER, {"runtime": "docker"}),
    "podman": (Platform.CONTAINER, {"runtime": "podman"}),
    "containerd": (Platform.CONTAINER, {"runtime": "containerd"}),
    "pepita": (Platform.PEPITA, {}),
    "wos": (Platform.WOS, {}),
}
"""What each name asks `select_adapter` for."""
FAKE = "fake"
"""`duende.testing.fake_adapter.FakeAdapter`: daemons made of memory."""


def make_adapter(name: str, **options: Any) -> PlatformAdapter:
    """The adapter called *name*, made with *options*.

    Raises:
        ConfigError: there is no adapter of that name.
        NotSupportedError: this version has none for that platform, or what it needs is not installed.
    """
    if name == FAKE:
        from duende.testing.fake_adapter import FakeAdapter

        return FakeAdapter(**options)
    if name not in NAMES:
        raise ConfigError(
            f"no adapter is called {name!r}", remedy=f"use one of {', '.join([*NAMES, FAKE])}", key="adapter"
        )
    platform, given = NAMES[name]
    return select_adapter(platform, **{**given, **options})


def configuration(
    daemon: Daemon | type[Daemon] | DaemonConfig, config: DaemonConfig | None
) -> tuple[DaemonConfig, str]:
    """What to start, and the folder to import it from ("" where it is installed or is a program).

    Raises:
        ConfigError: the class cannot be found from another process, or the configuration is wrong.
    """
    from duende.config import validate

    path = ""
    if isinstance(daemon, DaemonConfig):
        made = daemon
    else:
        from duende.host.target import import_root, target_of

        target, path = target_of(daemon), import_root(daemon)
        found = daemon if isinstance(daemon, type) else type(daemon)
        made = msgspec.structs.replace(
            config or DaemonConfig(name=daemon.name or found.__name__.lower()),
            daemon=target,
            binary_path=None,
        )
    validate(made)
    return made, path


def adapter_of(given: PlatformAdapter | Platform | str) -> PlatformAdapter:
    """The adapter that *given* is or names; raises as `make_adapter` does."""
    if isinstance(given, PlatformAdapter):
        return given
    if isinstance(given, Platform):
        return select_adapter(given)
    return make_adapter(given)
