"""`[platform.wos]`: its keys, their defaults and what they must obey."""

from __future__ import annotations

import msgspec

from duende.adapters.wos.priorities import check_priority
from duende.config.model import DaemonConfig
from duende.errors import PlatformConfigError

CAPABILITIES = ("clock", "env", "random", "spawn", "signal", "ipc", "net", "fs:read", "fs:write", "none")
"""What a process may be allowed; `none` takes away what WOS gives without being asked."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[platform.wos]`."""

    priority: int | None = None
    """0 (strongest) to 7; absent: `platform.priority`, else the adapter's own."""
    capabilities: tuple[str, ...] = ()
    """What it may do beyond what every process may: net, fs:read, fs:write, signal."""
    folders: tuple[str, ...] = ()
    """Folders of this host that fs:read and fs:write are about; absent: `working_dir`."""
    fuel: int = 0
    """Instructions after which it is killed; 0 for no end."""
    command: str | None = None
    """The path of wos-ctl; absent: the adapter's own, as a rule `wos-ctl` on PATH."""


def settings_of(config: DaemonConfig) -> Settings:
    """The WOS settings of *config*.

    Raises:
        PlatformConfigError: a key is unknown or its value of no use; the text names it.
    """
    known = ", ".join(Settings.__struct_fields__)
    for key in config.platform.wos:
        if key not in Settings.__struct_fields__:
            raise PlatformConfigError(
                f"cannot start {config.name!r}: platform.wos.{key} is not known", remedy=f"known: {known}"
            )
    try:
        found = msgspec.convert(config.platform.wos, Settings)
    except msgspec.ValidationError as error:
        raise PlatformConfigError(f"cannot start {config.name!r}: platform.wos: {error}") from error
    for each in found.capabilities:
        if each not in CAPABILITIES:
            raise PlatformConfigError(
                f"cannot start {config.name!r}: platform.wos.capabilities: WOS has no capability {each!r}",
                remedy=f"use {', '.join(CAPABILITIES)}",
            )
    if found.fuel < 0:
        raise PlatformConfigError(
            f"cannot start {config.name!r}: platform.wos.fuel = {found.fuel} is of no use",
            remedy="use 0 or more",
        )
    return found


def priority_of(config: DaemonConfig, settings: Settings, default: int) -> int:
    """The priority that *config* asks for, *default* where it asks for none.

    Raises:
        PlatformConfigError: it is none, or two keys say different things.
    """
    one, other = settings.priority, config.platform.priority
    if one is not None and other is not None and one != other:
        raise PlatformConfigError(
            f"cannot start {config.name!r}: platform.priority = {other} and platform.wos.priority = {one}",
            remedy="leave one of them out",
        )
    chosen = one if one is not None else other
    return check_priority(default if chosen is None else chosen, config.name)
