"""What whole trees of processes use: a daemon is all of its processes, and they come and go between two looks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from duende.observe.monitor import DaemonMonitor, Reading
from duende.observe.tree import process_trees

CAPACITY = 2
"""Readings kept of one process: histories are kept of trees, by whoever looks."""


class Usage(NamedTuple):
    """A tree of processes between two looks; what may not be read is not a number (nan)."""

    cpu_percent: float
    """Of one core, since the look before; a process counts from the second look on, and where there is none yet this is nan."""
    rss_bytes: float
    """Pages that two of them share count twice."""
    threads: float
    processes: float
    read_bytes: float
    """Since they began, of those that live."""
    written_bytes: float


NOTHING = Usage(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class TreeMonitor:
    """Looks at the trees below some processes, each time it is told to. Of one thread at a time."""

    def __init__(self) -> None:
        self._monitor = DaemonMonitor(capacity=CAPACITY)
        self._watched: dict[str, set[str]] = {}

    def look(self, roots: Mapping[str, int]) -> dict[str, Usage]:
        """What the tree of each root uses now, by the caller's name of it; a name whose process (0 is none) is not there uses nothing."""
        trees = process_trees({pid for pid in roots.values() if pid > 0})
        for name in set(self._watched) - set(roots):
            self._watch(name, {})
            del self._watched[name]
        fresh: set[str] = set()
        for name, pid in roots.items():
            tree = trees.get(pid)
            nodes = tree.walk() if tree is not None else ()
            fresh |= self._watch(
                name, {f"{name}/{node.pid}/{node.stat.start_time}": node.pid for node in nodes}
            )
        used = self._monitor.collect()
        return {
            name: _sum({key: used[key] for key in keys if key in used}, fresh)
            for name, keys in self._watched.items()
        }

    def close(self) -> None:
        """Let go of the processes."""
        self._monitor.close()
        self._watched.clear()

    def _watch(self, name: str, now: Mapping[str, int]) -> set[str]:
        """Watch these processes, and no others, as those of *name*; the keys of those that are new."""
        before = self._watched.get(name, set())
        for key in before - set(now):
            self._monitor.forget(key)
        kept = before & set(now)
        for key in set(now) - kept:
            try:
                self._monitor.watch(key, now[key])
                kept.add(key)
            except ProcessLookupError:
                continue  # it ended between the look at the tree and this one
        self._watched[name] = kept
        return kept - before


def _sum(readings: Mapping[str, Reading], fresh: set[str]) -> Usage:
    if not readings:
        return NOTHING
    found = readings.values()
    # Between `watch` and the first reading lies less than a tick of the kernel's count of CPU time.
    counted = [each.cpu_percent for key, each in readings.items() if key not in fresh]
    return Usage(
        math.fsum(counted) if counted else math.nan,
        math.fsum(each.rss_bytes for each in found),
        math.fsum(each.threads for each in found),
        float(len(found)),
        sum(each.read_bytes for each in found),
        sum(each.written_bytes for each in found),
    )
