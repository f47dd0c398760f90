"""One private Docker for all attempts of a run that need one: each of them would otherwise start its own, and load its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

NEEDS = frozenset({"docker", "systemd"})
"""What a claim needs for its attempt to use the shared Docker; systemd runs in a container of it."""


def uses_runtime(needs: Iterable[str]) -> bool:
    """Whether an attempt on a claim with these *needs* uses the shared Docker."""
    return not NEEDS.isdisjoint(needs)


@contextmanager
def held(wanted: bool, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the run's private Docker if it is *wanted*; attempts join it, in whatever process they run.

    Where it cannot be had that is told, and each attempt finds out for itself what it lacks.
    """
    with ExitStack() as stack:
        if wanted:
            from fixtures.runtimes.dockerd import docker
            from fixtures.sharing import LabError

            tell("starting a private Docker for the attempts that need one")
            try:
                stack.enter_context(docker())
            except LabError as error:
                tell(f"no private Docker: {error}")
        yield
