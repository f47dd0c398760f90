"""Limits of a daemon that runs: looked at, and changed without a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from duende.adapters.contract import SupportsLimits
from duende.config.check import normalise, validate
from duende.config.model import DaemonConfig
from duende.config.units import parse_size
from duende.errors import ConfigError, InstanceNotFoundError, NotSupportedError
from duende.supervisor import Supervisor

NAMES = {
    "memory": "memory_bytes",
    "swap": "memory_swap_bytes",
    "cpu": "cpu_quota_percent",
    "shares": "cpu_shares",
    "pids": "pids_max",
    "read": "io_read_bps",
    "write": "io_write_bps",
    "network": "network_bps",
    "disk": "disk_bytes",
}
"""What people write, and the key under `[resources]`; the key itself may be written too."""


def changed(config: DaemonConfig, values: Mapping[str, str]) -> DaemonConfig:
    """*config* with the limits *values*, checked.

    Raises:
        ConfigError: a name is none, or a value makes no sense; the name is told.
    """
    fields: dict[str, Any] = {}
    for name, text in values.items():
        key = NAMES.get(name, name)
        if key not in NAMES.values():
            raise ConfigError(f"there is no limit {name!r}", remedy=f"known: {', '.join(NAMES)}", key=name)
        try:
            if key == "cpu_quota_percent":
                fields[key] = float(text.removesuffix("%"))
            else:
                fields[key] = parse_size(int(text) if text.isdecimal() else text)
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"{name} = {text!r} is no limit: {error}", key=name) from error
    wanted = normalise(
        msgspec.structs.replace(config, resources=msgspec.structs.replace(config.resources, **fields))
    )
    validate(wanted)
    return wanted


async def limits_of(supervisor: Supervisor, values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Each limit of a daemon, and what is used of it; with *values* those are put in force first, now and for every start to come.

    Raises:
        ConfigError: a value makes no sense.
        InstanceNotFoundError: it does not run.
        NotSupportedError: its adapter cannot change limits.
        PlatformResourceError: a limit cannot be enforced; the old ones stay.
    """
    adapter, handle = supervisor.adapter, supervisor.handle
    if not isinstance(adapter, SupportsLimits):
        raise NotSupportedError(
            adapter.platform.value,
            "change limits of what runs",
            remedy="change the configuration and restart",
        )
    if handle is None or supervisor.status.is_terminal:
        raise InstanceNotFoundError(
            f"cannot look at the limits of {supervisor.name!r}: it is {supervisor.status}",
            remedy="start it first",
        )
    if values:
        wanted = changed(supervisor.config, values)
        await adapter.update_limits(handle, wanted, supervisor.config)
        supervisor.config = wanted
    used = await adapter.usage(handle, supervisor.config)
    resources = supervisor.config.resources
    return {
        name: {"key": f"resources.{key}", "limit": getattr(resources, key), "used": used.get(key)}
        for name, key in NAMES.items()
    }
