"""The contract of a fault."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from fixtures.lease import Lease, Reaper
from scenarios.look import until

TARGET_WITHIN = 10.0
"""Seconds for somebody to be there to whom a fault can be done."""

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


class Awaited(Fault):
    """A fault that waits, before it is injected, until there is somebody to do it to: the one before may have left nobody."""

    def __init__(self, fault: Fault, targets: Targets, within: float = TARGET_WITHIN) -> None:
        self.name = fault.name
        self._fault = fault
        self._targets = targets
        self._within = within

    def unsupported(self) -> str:
        """As the fault itself."""
        return self._fault.unsupported()

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Wait, then inject it."""
        if not await until(self._targets, self._within):
            raise NoEffectError(f"there was nobody to do it to within {self._within:g} s")
        return await self._fault.inject(reaper, pick)

    async def heal(self) -> str:
        """Heal it."""
        return await self._fault.heal()


def choose(targets: Targets, pick: int) -> int:
    """One of the targets.

    Raises:
        NoEffectError: there is none.
    """
    pids = sorted(targets())
    if not pids:
        raise NoEffectError("there is nobody to do it to")
    return pids[pick % len(pids)]
