"""EMFILE: a process that may open no further descriptor."""

from __future__ import annotations

import os
import resource

from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError, Targets, choose
from scenarios.look import target


class Emfile(Fault):
    """Lowers RLIMIT_NOFILE of a process to what it has open (prlimit(2)); healed by raising it again.

    Not leased: the limit ends with the process that has it, and an open limit harms nobody else.
    """

    name = "emfile"

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._before: tuple[int, tuple[int, int]] | None = None

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Lower it; proven by reading it back at or below the number of open descriptors."""
        pid = choose(self._targets, pick)
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        listed = os.listdir(f"/proc/{pid}/fd")
        # Looked at once more: of this very process, the list has the descriptor that listed it.
        opened = [int(name) for name in listed if target(pid, int(name))]
        # New descriptors get the lowest free number, which must not be below the limit: count the holes as
        # free.
        lowest = next(number for number in range(len(opened) + 1) if number not in opened)
        self._before = (pid, limit)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, limit[1]))
        found = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        if found > lowest:
            raise NoEffectError(f"the limit of {pid} is {found}")
        return f"{pid} may open nothing beyond descriptor {lowest - 1}"

    async def heal(self) -> str:
        """Raise it again."""
        if self._before is None:
            return "nothing to undo"
        (pid, limit), self._before = self._before, None
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        except ProcessLookupError:
            return f"{pid} has ended"
        return f"limit of {pid} is {limit[0]} again"
