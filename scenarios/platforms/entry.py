"""Entering a platform by its name, and keeping up what the scenarios of one run share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from fixtures.runtimes.dockerd import Docker, docker
from fixtures.runtimes.launchd import launchd
from fixtures.runtimes.pepita import pepita
from fixtures.runtimes.podman import Podman, podman
from fixtures.runtimes.systemd import Systemd, systemd
from fixtures.runtimes.wos import wos
from fixtures.sharing import LabError
from scenarios.platforms.base import LEVELS, Native, Platform
from scenarios.platforms.containers import IMAGE, Containers
from scenarios.platforms.jobs import Jobs
from scenarios.platforms.microvms import MicroVMs
from scenarios.platforms.modules import Modules
from scenarios.platforms.units import Units
from scenarios.scenario import UnmetNeedError


@contextmanager
def enter(name: str, *, shared: bool = True, image: str = IMAGE) -> Iterator[Platform]:
    """The platform of that name, up; with one of the run's runtimes, or one of its own unless *shared*. A container
    runtime has that *image* of the lab's.

    Raises:
        UnmetNeedError: it cannot be had here; the text says why.
        KeyError: there is none of that name.
    """
    if name not in LEVELS:
        raise KeyError(f"no platform {name!r}; there are {', '.join(LEVELS)}")
    with ExitStack() as stack:
        try:
            platform = _made(name, stack, shared, image)
        except LabError as error:
            raise UnmetNeedError(f"no {name} here: {error}") from error
        yield platform


def _made(name: str, stack: ExitStack, shared: bool, image: str) -> Platform:
    if name == "systemd":
        # Whatever is done to this systemd, the Docker around it is the run's: nobody does anything to that.
        return Units(_systemd(stack, shared=shared))
    if name == "native":
        return Native()
    if name == "wos":
        return Modules(stack.enter_context(wos(shared=shared)))
    if name == "launchd":
        return Jobs(stack.enter_context(launchd(shared=shared)))
    if name == "pepita":
        return MicroVMs(stack.enter_context(pepita(shared=shared)))
    runtime: Docker | Podman
    if name == "docker":
        runtime = stack.enter_context(docker(shared=shared))
    else:
        runtime = stack.enter_context(podman(shared=shared))
    runtime.image(image)  # not in the middle of a scenario
    return Containers(name, runtime)


def _systemd(stack: ExitStack, *, shared: bool) -> Systemd:
    around = stack.enter_context(docker())
    return stack.enter_context(systemd(around, shared=shared))


class Shared:
    """Keeps shared runtimes up between scenarios; each is started when the first scenario needs it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._kept: set[str] = set()

    def keep(self, name: str) -> None:
        """Have the runtime of that platform from now on; one that cannot be had is left to the scenario to find out."""
        if name in self._kept:
            return
        self._kept.add(name)
        try:
            self._stack.enter_context(enter(name))
        except UnmetNeedError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
