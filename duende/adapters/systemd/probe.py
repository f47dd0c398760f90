"""Whether systemd can be used here, and if not, why and what would help."""

from __future__ import annotations

import os

from duende.adapters.contract import Probe, ProbeState
from duende.adapters.remedy import NATIVE, Host, steps
from duende.adapters.systemd.bus import MANAGER, MANAGER_PATH, PROPERTIES, Bus, Refusal
from duende.adapters.systemd.facts import OLDEST, version_number
from duende.adapters.systemd.parse import plain
from duende.errors import DuendeError


async def probe_systemd(bus: Bus) -> Probe:
    """Absent without a socket, unhealthy when it does not answer as it should, usable otherwise."""
    socket = bus.address.removeprefix("unix:path=").split(",", 1)[0]
    if bus.address.startswith("unix:path=") and not os.path.exists(socket):
        return no_bus(socket, Host.here(), user=bus.user)
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


def no_bus(socket: str, host: Host, *, user: bool) -> Probe:
    """What is wrong where no bus listens, and the command that would help: pure."""
    why = f"there is no message bus at {socket}"
    if not host.booted:
        return Probe(
            state=ProbeState.ABSENT, why=f"{why}, and systemd is not PID 1 of this machine", remedy=NATIVE
        )
    if user:
        linger = host.as_root(f"loginctl enable-linger {host.user}")
        remedy = steps(host.install("libpam-systemd", "dbus-user-session"), linger)
    else:
        remedy = steps(host.install("dbus"), host.as_root("systemctl start dbus.socket"))
    return Probe(state=ProbeState.ABSENT, why=why, remedy=remedy)


def _unhealthy(error: DuendeError) -> Probe:
    return Probe(state=ProbeState.UNHEALTHY, why=error.problem, remedy=error.remedy)


async def _property(bus: Bus, name: str) -> str:
    (value,) = await bus.call(MANAGER_PATH, PROPERTIES, "Get", "ss", [MANAGER, name])
    return str(plain(value))
