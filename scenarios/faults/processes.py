"""Signals out of the blue: KILL, SEGV, STOP.

What they hit is held by a pidfd, so the proof is about that process.
"""

from __future__ import annotations

import signal

from fixtures.lease import Reaper
from scenarios.faults.base import Fault, Leased, NoEffectError, Targets, choose
from scenarios.look import Watched, state_of, until

EFFECT_WITHIN = 5.0
"""Seconds in which the kernel must have done it."""


class Deadly(Fault):
    """A signal that ends one of the targets. Nothing to heal: recovery is the supervisor's business."""

    def __init__(self, name: str, number: int, targets: Targets) -> None:
        self.name = name
        self._number = number
        self._targets = targets

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Send it; proven when the process has ended."""
        pid = choose(self._targets, pick)
        try:
            victim = Watched(pid)
        except ProcessLookupError as error:
            raise NoEffectError(f"{pid} had ended already") from error
        try:
            if not victim.send(self._number) or not await victim.dead(EFFECT_WITHIN):
                raise NoEffectError(f"{pid} did not end by signal {self._number}")
        finally:
            victim.close()
        return f"{signal.Signals(self._number).name} ended {pid}"

    async def heal(self) -> str:
        """Nothing to do."""
        return "the dead stay dead"


def kill(targets: Targets) -> Deadly:
    """KILL."""
    return Deadly("kill", signal.SIGKILL, targets)


def segv(targets: Targets) -> Deadly:
    """SEGV: dies of a signal, perhaps with a core."""
    return Deadly("segv", signal.SIGSEGV, targets)


class Stop(Leased):
    """STOP; healed by CONT."""

    name = "stop"

    def __init__(self, targets: Targets) -> None:
        super().__init__()
        self._targets = targets

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Send STOP; proven by the kernel's state T."""
        pid = choose(self._targets, pick)
        self.leases.append(reaper.lease_process("cont", pid))
        victim = Watched(pid)
        victim.send(signal.SIGSTOP)
        victim.close()
        if not await until(lambda: state_of(pid) in ("T", "t"), EFFECT_WITHIN):
            raise NoEffectError(f"{pid} is in state {state_of(pid)!r}")
        return f"{pid} is in state T"
