"""Who is left of a daemon after its main process has ended.

The warden is the subreaper of everything it started (PR_SET_CHILD_SUBREAPER), so once a main process is gone each surviving descendant
is either a child of the warden that is no main process (a stray) or descends from one. No stray means: nothing is left, and that is a
proof, whatever sessions or groups the descendants have made for themselves.
"""

from __future__ import annotations

import os

from duende.kernel.process import Stat, child_numbers, children_of, environment_value, read_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

COOKIE = "DUENDE_DAEMON_ID"
"""Set in every daemon's environment; a descendant that made its own session still carries it."""


class Strays:
    """The warden's children that are nobody's main process, and whose they are."""

    __slots__ = ("_known", "_me", "_owners")

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        """Main processes and the warden's helpers, as the kernel writes their pids."""
        self._owners: dict[tuple[int, int], str] = {}
        """(pid, start time) of a stray -> daemon id; "" while nobody can tell."""
        self._me = os.getpid()

    def know(self, pid: int) -> None:
        """From now on *pid* is nobody's stray: a main process, or a helper of the warden."""
        self._known.add(b"%d" % pid)

    def forget(self, pid: int) -> None:
        """*pid* has ended and was reaped."""
        self._known.discard(b"%d" % pid)

    def look(self, leaders: dict[int, str], suspects: Iterable[str] = ()) -> dict[str, list[Stat]]:
        """Strays by daemon id ("" for those nobody can be named for).

        *leaders* are the pids that are or were main processes, with their daemon ids; *suspects* the daemons whose main process ended
        since the last look: a new stray that carries no mark belongs to the only suspect, if there is only one.
        """
        found: dict[str, list[Stat]] = {}
        alive: dict[tuple[int, int], str] = {}
        blamed = list(suspects)
        for word in child_numbers(self._me):
            if word in self._known:
                continue
            pid = int(word)
            stat = read_stat(pid)
            if stat is None or stat.state == "Z":
                continue
            key = (pid, stat.start_time)
            owner = self._owners.get(key)
            if not owner:
                owner = (
                    leaders.get(stat.session)
                    or leaders.get(stat.pgrp)
                    or environment_value(pid, COOKIE)
                    or ""
                )
                if not owner and owner is not None and key not in self._owners and len(blamed) == 1:
                    owner = blamed[0]
            alive[key] = owner
            found.setdefault(owner, []).append(stat)
        self._owners = alive
        return found


def descendants(roots: list[Stat]) -> list[Stat]:
    """The *roots* and everything below them that is alive, parents first."""
    everything: list[Stat] = []
    seen: set[int] = set()
    queue = list(roots)
    while queue:
        stat = queue.pop(0)
        if stat.pid in seen:
            continue
        seen.add(stat.pid)
        everything.append(stat)
        for child in children_of(stat.pid):
            below = read_stat(child)
            if below is not None and below.state != "Z":
                queue.append(below)
    return everything
