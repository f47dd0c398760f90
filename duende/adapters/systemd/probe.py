"""Whether systemd can be used here, and if not, why and what would help."""

from __future__ import annotations

import os

from duende.adapters.contract import Probe, ProbeState
from duende.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, Bus, Refusal
from duende.adapters.systemd.facts import OLDEST, version_number
from duende.adapters.systemd.parse import plain
from duende.errors import DuendeError


async def probe_systemd(bus: Bus) -> Probe:
    """Absent without a socket, unhealthy when it does not answer as it should, usable otherwise."""
    socket = bus.address.removeprefix("unix:path=").split(",", 1)[0]
    if bus.address.startswith("unix:path=") and not os.path.exists(socket):
        remedy = (
            "loginctl enable-linger USER, with libpam-systemd and dbus-user-session installed"
            if bus.user
            else "boot with systemd as PID 1 and dbus installed, or use the native adapter"
        )
        return Probe(state=ProbeState.ABSENT, why=f"there is no message bus at {socket}", remedy=remedy)
    try:
        version = await _property(bus, "Version")
        state = await _property(bus, "SystemState")
    except Refusal as refusal:
        return _unhealthy(bus.error_of(refusal))
    except DuendeError as error:
        return _unhealthy(error)
    if version_number(version) < OLDEST:
        return Probe(
            state=ProbeState.UNHEALTHY,
            why=f"systemd {version} is older than {OLDEST}",
            version=version,
            remedy="update systemd, or use the native adapter",
        )
    whose = "this user's systemd" if bus.user else "systemd"
    return Probe(state=ProbeState.USABLE, why=f"{whose} answers and is {state}", version=version)


def _unhealthy(error: DuendeError) -> Probe:
    return Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)


async def _property(bus: Bus, name: str) -> str:
    (value,) = await bus.call(MANAGER_PATH, PROPERTIES, "Get", "ss", [MANAGER, name])
    return str(plain(value))
