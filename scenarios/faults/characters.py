"""Daemons that are a fault by themselves, offered to the nemesis: each is started beside the others and
stopped when healed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fixtures.daemons import command
from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError
from scenarios.look import alive, tree, until

EFFECT_WITHIN = 10.0

Begin = Callable[[str, list[str]], Awaitable[int]]
"""Starts a daemon of that name and command line under the supervisor; its pid."""
End = Callable[[str], Awaitable[None]]
"""Stops it and makes it unknown again."""


class Character(Fault):
    """One of the tiny programs of `fixtures/daemons`, as a daemon of the system under test."""

    def __init__(self, name: str, line: list[str], begin: Begin, end: End, *, processes: int = 1) -> None:
        self.name = name
        self._line = line
        self._begin = begin
        self._end = end
        self._processes = processes
        self._running = False

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Start it; proven by a tree of at least as many processes as it is known for."""
        pid = await self._begin(self.name, self._line)
        self._running = True
        if not await until(lambda: len(tree(pid)) >= self._processes and alive(pid), EFFECT_WITHIN):
            raise NoEffectError(f"{self.name} has {len(tree(pid))} processes, not {self._processes}")
        return f"{self.name} runs as {pid} with {len(tree(pid))} processes"

    async def heal(self) -> str:
        """Stop it."""
        if not self._running:
            return "nothing to undo"
        self._running = False
        await self._end(self.name)
        return f"stopped {self.name}"


def characters(folder: Path, begin: Begin, end: End) -> tuple[Character, ...]:
    """Those that are offered: fork storm, ignored TERM, children that stay, closed stdout, double fork."""

    def report(name: str) -> Path:
        return folder / f"{name}.report"

    return (
        Character("fork-storm", command("stormer", 50), begin, end, processes=51),
        Character("ignores-term", command("stubborn"), begin, end),
        Character("children-stay", command("forker", report("children-stay")), begin, end, processes=2),
        Character("closed-stdout", command("closer"), begin, end),
        Character("double-fork", command("doubleforker", report("double-fork"), 3, 0.5), begin, end),
    )
