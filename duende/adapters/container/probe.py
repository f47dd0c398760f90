"""Whether daemons can run in containers here, for each runtime."""

from __future__ import annotations

import os
import shutil

from duende.adapters.container.detect import ORDER, Tried, look
from duende.adapters.container.engine import Runtime
from duende.adapters.contract import Probe, ProbeState
from duende.adapters.remedy import Host, steps
from duende.errors import NotSupportedError

PROGRAMS = {
    Runtime.DOCKER: ("dockerd", "docker.io", "docker"),
    Runtime.PODMAN: ("podman", "podman", "podman.socket"),
    Runtime.CONTAINERD: ("containerd", "containerd", "containerd"),
}
"""The program, its Debian package, its unit."""


def remedy(runtime: Runtime, socket: str, host: Host, *, installed: bool) -> str:
    """The command that would have *runtime* listen at *socket*: pure."""
    program, package, unit = PROGRAMS[runtime]
    install = "" if installed else host.install(package)
    if runtime is Runtime.PODMAN and not host.root:
        start = f"podman system service --time=0 unix://{socket} &"
        return steps(install, "systemctl --user start podman.socket" if host.booted else start)
    if host.booted:
        return steps(install, host.as_root(f"systemctl start {unit}"))
    if runtime is Runtime.PODMAN:
        folder = os.path.dirname(socket)
        return steps(install, f"mkdir -p {folder}", f"podman system service --time=0 unix://{socket} &")
    return steps(install, host.as_root(f"{program} &"))


async def probe_runtime(runtime: Runtime, socket: str | None, timeout: float) -> Probe:
    """Whether *runtime* can be used: absent without a socket, unhealthy when it does not answer, else usable with its version."""
    tried = await look(runtime, socket, timeout)
    installed = (
        shutil.which(PROGRAMS[runtime][0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
    )
    return probe_of(tried, remedy(runtime, tried.socket, Host.here(), installed=installed))


def probe_of(tried: Tried, help_: str = "") -> Probe:
    """The verdict about what was found, with what would help where nothing was: pure."""
    name = tried.runtime.value
    if tried.facts is not None:
        return Probe(
            state=ProbeState.USABLE,
            why=f"{name} answers at {tried.socket}",
            version=f"{name} {tried.facts.version}",
        )
    if tried.error is not None and (tried.exists or isinstance(tried.error, NotSupportedError)):
        return Probe(
            state=ProbeState.UNHEALTHY, why=f"{name}: {tried.error.problem}", remedy=tried.error.remedy
        )
    return Probe(state=ProbeState.ABSENT, why=f"{name}: {tried.socket} is not there", remedy=help_)


async def probe_all(timeout: float) -> dict[str, Probe]:
    """All three, by name."""
    return {each.value: await probe_runtime(each, None, timeout) for each in ORDER}


def best(probes: list[Probe]) -> Probe:
    """One verdict of several: the first usable one, else the first unhealthy one, with the reasons of all."""
    for state in (ProbeState.USABLE, ProbeState.UNHEALTHY):
        for each in probes:
            if each.state is state:
                return each
    return Probe(state=ProbeState.ABSENT, why="; ".join(each.why for each in probes), remedy=probes[0].remedy)
