"""Whether daemons can run in containers here, for each runtime."""

from __future__ import annotations

from duende.adapters.container.detect import ORDER, Tried, look
from duende.adapters.container.engine import Runtime
from duende.adapters.contract import Probe, ProbeState
from duende.errors import NotSupportedError

REMEDIES = {
    Runtime.DOCKER: "apt-get install docker.io, then systemctl start docker",
    Runtime.PODMAN: "apt-get install podman, then systemctl start podman.socket",
    Runtime.CONTAINERD: "apt-get install containerd, then systemctl start containerd",
}


async def probe_runtime(runtime: Runtime, socket: str | None, timeout: float) -> Probe:
    """Whether *runtime* can be used: absent without a socket, unhealthy when it does not answer, else usable with its version."""
    return probe_of(await look(runtime, socket, timeout))


def probe_of(tried: Tried) -> Probe:
    """The verdict about what was found: pure."""
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
    return Probe(
        state=ProbeState.ABSENT, why=f"{name}: {tried.socket} is not there", remedy=REMEDIES[tried.runtime]
    )


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
