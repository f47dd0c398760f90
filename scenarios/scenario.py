"""What a scenario is made of, as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenarios.checks import Checker
from scenarios.faults.base import Fault
from scenarios.history import Operation

if TYPE_CHECKING:
    from scenarios.lab import Lab


class UnmetNeedError(Exception):
    """The scenario cannot be tried here; the text says what is missing.

    It is then unattempted, never passed.
    """


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often the nemesis strikes by itself; none of it when a workload calls for each fault."""

    count: int = 0
    """Faults in all."""
    first: float = 0.2
    """Seconds before the first."""
    gap: float = 1.0
    """Mean seconds between two beginnings."""
    hold: float = 0.5
    """Mean seconds until one is healed."""


class Workload(ABC):
    """What the daemons are asked to do. Everything it does goes through the lab, and so into the history."""

    pace: Pace = Pace()

    async def setup(self, lab: Lab) -> None:
        """Before the nemesis wakes.

        Raises:
            UnmetNeedError: this machine lacks something.
        """

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """What the nemesis may do by itself, on the schedule of the seed."""
        return ()

    @abstractmethod
    async def run(self, lab: Lab) -> None:
        """The work, side by side with the nemesis."""

    async def recover(self, lab: Lab) -> str:
        """After healing: empty when all is well again, else what is not.

        Asked repeatedly until a deadline.
        """
        return ""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One entry of the catalog."""

    id: str
    title: str
    """What happens."""
    invariant: str
    """What must hold."""
    seen_in: str
    """Public reports of the same failure elsewhere, as project#thread."""
    workload: Callable[[], Workload]
    """Makes a fresh workload for each run."""
    checks: tuple[Checker, ...]
    adapters: tuple[str, ...] = ("native",)
    """Where it runs, with the same checkers: of native, systemd, docker, podman, pepita, wos, launchd."""
    image: str = "python"
    """The lab's image that its containers run in: loaded before it begins."""
    breaks_runtime: bool = False
    """Whether it does something to the runtime itself, and so needs one that no other scenario uses."""
    draw: Callable[[Sequence[Operation]], Mapping[str, str]] | None = None
    """Makes files of a history, for the report: name -> text (.svg pictures, .log and .txt)."""
    limit: float = 60.0
    """Seconds the workload may take; longer is no verdict."""
    recovery: float = 15.0
    """Seconds for everything to be well again after healing."""
