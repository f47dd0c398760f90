"""Which runtime is here: the first of Docker, Podman and containerd whose socket really answers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping

import msgspec

from duende.adapters.container.docker_api import DockerApi, answers
from duende.adapters.container.engine import Engine, Facts, Runtime
from duende.errors import DuendeError, NotSupportedError, PlatformConfigError

ORDER = (Runtime.DOCKER, Runtime.PODMAN, Runtime.CONTAINERD)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One socket that was looked at."""

    runtime: Runtime
    socket: str
    exists: bool
    facts: Facts | None = None
    error: DuendeError | None = None


def candidates(runtime: Runtime, environ: Mapping[str, str], uid: int) -> list[str]:
    """Where *runtime* usually listens, the most wanted first: pure."""
    personal = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    if runtime is Runtime.DOCKER:
        given, found = (
            environ.get("DOCKER_HOST", ""),
            ["/run/docker.sock", "/var/run/docker.sock", f"{personal}/docker.sock"],
        )
    elif runtime is Runtime.PODMAN:
        given, found = (
            environ.get("CONTAINER_HOST", ""),
            ["/run/podman/podman.sock", f"{personal}/podman/podman.sock"],
        )
        if uid:
            found.reverse()  # a user's own instance comes before the system's
    else:
        given, found = environ.get("CONTAINERD_ADDRESS", ""), ["/run/containerd/containerd.sock"]
        given = f"unix://{given}" if given.startswith("/") else given
    if given.startswith("unix://"):
        return [given.removeprefix("unix://")]
    return list(dict.fromkeys(found))


async def look(runtime: Runtime, socket: str | None, timeout: float) -> Tried:
    """Ask the sockets of *runtime* (only *socket* where it is given) until one answers; otherwise the most telling failure."""
    paths = [socket] if socket is not None else candidates(runtime, os.environ, os.geteuid())
    worst = Tried(runtime=runtime, socket=paths[0], exists=False)
    for path in paths:
        exists = os.path.exists(path)
        if not exists and socket is None:
            continue
        try:
            facts = await _ask(runtime, path, timeout)
        except DuendeError as error:
            if not worst.exists:
                worst = Tried(runtime=runtime, socket=path, exists=exists, error=error)
            continue
        if socket is None and facts.runtime is not runtime:
            continue  # podman-docker puts Podman's socket where Docker's is looked for
        return Tried(runtime=facts.runtime, socket=path, exists=True, facts=facts)
    return worst


async def _ask(runtime: Runtime, path: str, timeout: float) -> Facts:
    if runtime is not Runtime.CONTAINERD:
        return await answers(path, timeout)
    from duende.adapters.container.containerd import Containerd

    return await Containerd(path, timeout).facts()


def runtime_named(text: str) -> Runtime:
    """The runtime of that name.

    Raises:
        PlatformConfigError: there is none.
    """
    try:
        return Runtime(text)
    except ValueError:
        raise PlatformConfigError(
            f"cannot use the container runtime {text!r}",
            remedy=f"use one of {', '.join(each.value for each in ORDER)}",
        ) from None


def engine_for(runtime: Runtime, socket: str, timeout: float) -> Engine:
    """The engine that speaks to *runtime* at *socket*."""
    if runtime is Runtime.CONTAINERD:
        from duende.adapters.container.containerd import Containerd

        return Containerd(socket, timeout)
    return DockerApi(runtime, socket, timeout)


async def choose(runtime: str | None, socket: str | None, timeout: float) -> Tried:
    """The runtime to use: the one that is named, or the first of `ORDER` that answers (at *socket*, where that is given).

    Raises:
        NotSupportedError: none answers; every reason is in the text.
        DuendeError: the one that is named does not answer.
    """
    order = ORDER if runtime is None else (runtime_named(runtime),)
    failures: list[Tried] = []
    for each in order:
        found = await look(each, socket, timeout)
        if found.facts is not None:
            return found
        failures.append(found)
    if len(failures) == 1 and failures[0].error is not None:
        raise failures[0].error
    seen = "; ".join(
        f"{each.runtime.value}: {each.error.problem if each.error else f'{each.socket} is not there'}"
        for each in failures
    )
    raise NotSupportedError(
        "container",
        f"run daemons here: no container runtime answers ({seen})",
        remedy="start dockerd, `podman system service` or containerd, or give socket=",
    )


def need_package() -> None:
    """Refuse at once where the `docker` package is missing; `choose` turns that into the extra to install.

    Raises:
        ModuleNotFoundError: it is.
    """
    if importlib.util.find_spec("docker") is None:
        raise ModuleNotFoundError("No module named 'docker'", name="docker")
