"""The contract of a fault."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from fixtures.lease import Lease, Reaper

Targets = Callable[[], Sequence[int]]
"""The pids that a fault may choose from, asked when it is injected."""


class NoEffectError(Exception):
    """The fault did not take effect: whatever follows says nothing about it."""


class Fault(ABC):
    """Something bad.

    Injected and healed at most once at a time; the same object may be used again after healing.
    """

    name: str

    def unsupported(self) -> str:
        """Why it cannot be injected on this machine, or nothing. Asked before it is offered."""
        return ""

    @abstractmethod
    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Do it, having leased the undoing from *reaper*; *pick* chooses among the targets. The proof that it
        took effect.

        Raises:
            NoEffectError: it did not.
        """

    @abstractmethod
    async def heal(self) -> str:
        """Undo it; what was done. Healing what was never injected is harmless."""


class Leased(Fault):
    """A fault whose healing is the undoing of its leases."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []

    async def heal(self) -> str:
        """Undo all leases, the latest first."""
        done = []
        while self.leases:
            done.append(self.leases.pop().undo())
        return "; ".join(done) or "nothing to undo"


def choose(targets: Targets, pick: int) -> int:
    """One of the targets.

    Raises:
        NoEffectError: there is none.
    """
    pids = sorted(targets())
    if not pids:
        raise NoEffectError("there is nobody to do it to")
    return pids[pick % len(pids)]
