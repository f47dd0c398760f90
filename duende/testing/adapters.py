"""Adapters by the names that people write in a test run: native, systemd, docker, podman, containerd, ..., fake; and what they are to start."""

from __future__ import annotations

from typing import Any

from duende.adapters.choose import NAMED, adapter_named, select_adapter
from duende.adapters.contract import Platform, PlatformAdapter
from duende.config.model import DaemonConfig
from duende.daemon import Daemon
from duende.errors import ConfigError

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
    if name not in NAMED:
        raise ConfigError(
            f"no adapter is called {name!r}", remedy=f"use one of {', '.join([*NAMED, FAKE])}", key="adapter"
        )
    return adapter_named(name, **options)


def configuration(
    daemon: Daemon | type[Daemon] | DaemonConfig, config: DaemonConfig | None
) -> tuple[DaemonConfig, str]:
    """What to start, and the folder to import it from ("" where it is installed or is a program).

    Raises:
        ConfigError: the class cannot be found from another process, or the configuration is wrong.
    """
    from duende.host.target import aimed_at

    if isinstance(daemon, DaemonConfig):
        return aimed_at(None, daemon)
    found = daemon if isinstance(daemon, type) else type(daemon)
    return aimed_at(daemon, config or DaemonConfig(name=daemon.name or found.__name__.lower()))


def adapter_of(given: PlatformAdapter | Platform | str) -> PlatformAdapter:
    """The adapter that *given* is or names; raises as `make_adapter` does."""
    if isinstance(given, PlatformAdapter):
        return given
    if isinstance(given, Platform):
        return select_adapter(given)
    return make_adapter(given)
