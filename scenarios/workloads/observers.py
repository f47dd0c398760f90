"""Observers: what processes do, seen from outside."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from scenarios import look
from scenarios.lab import Lab
from scenarios.look import Watched

LONGEST = 30.0
"""Seconds any of these processes may live before an observer gives up."""


def parent_of(pid: int) -> int:
    """The parent's pid, 0 when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])


def named(root: int, name: str) -> list[int]:
    """Processes below *root* whose command name (comm) begins with *name*."""
    found = []
    for pid in look.tree(root):
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith(name):
                found.append(pid)
        except OSError:
            continue
    return found


async def orphan(lab: Lab, pid: int) -> None:
    """Watch an orphan end, and note how long it stays a zombie and who had adopted it."""
    try:
        watched = Watched(pid)
    except ProcessLookupError:
        return  # it came and went before it could be watched: that says nothing about zombies
    try:
        ours = parent_of(pid) in look.tree(os.getpid())
        if await watched.dead(LONGEST):
            died = lab.history.now()
            await look.until(lambda: look.state_of(pid) != "Z", LONGEST, step=0.002)
            lab.observe("orphan", pid=pid, zombie_s=lab.history.now() - died, adopted=ours)
    finally:
        watched.close()


class Generation:
    """One life of a daemon, all its processes: when it began, and when the last of them had ended."""

    def __init__(self, lab: Lab, name: str, pids: list[int], began: float) -> None:
        self._lab = lab
        self._name = name
        self._pids = pids
        self.pid = pids[0]
        """Its main process."""
        self._began = began
        self._task = asyncio.create_task(self._watch([Watched(pid) for pid in pids]))

    async def _watch(self, group: list[Watched]) -> float | None:
        dead = await asyncio.gather(*(self._ended(watched) for watched in group))
        ends = [when for when in dead if when is not None]
        return max(ends) if len(ends) == len(group) else None

    async def _ended(self, watched: Watched) -> float | None:
        try:
            return self._lab.history.now() if await watched.dead(LONGEST) else None
        finally:
            watched.close()

    async def note(self, within: float) -> None:
        """Put it into the history; a process that lives on after *within* seconds leaves the end open."""
        done, _ = await asyncio.wait([self._task], timeout=within)
        ended = self._task.result() if done else None
        self._task.cancel()
        self._lab.observe("generation", name=self._name, pid=self.pid, began=self._began, ended=ended)
