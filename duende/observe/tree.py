"""Who descends from a process, from one look at all of /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from duende.kernel.process import Stat, read_stat


class Node(NamedTuple):
    """A process and those it has started that live."""

    pid: int
    stat: Stat
    children: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """This process, and all below it, parents first."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)


def process_tree(pid: int) -> Node | None:
    """The tree of *pid*, children in the order of their start; None where there is no such process.

    A process whose parent has ended is its subreaper's (prctl(2)), and is found there.
    """
    return process_trees((pid,)).get(pid)


def process_trees(pids: Iterable[int]) -> dict[int, Node]:
    """The trees of several processes, from one look at all of /proc; those that there are not are left out."""
    table = snapshot()
    below: dict[int, list[int]] = {}
    for number, stat in table.items():
        below.setdefault(stat.ppid, []).append(number)

    def made(number: int, above: frozenset[int]) -> Node:
        inside = above | {number}
        found = [child for child in below.get(number, ()) if child not in inside]
        found.sort(key=lambda child: (table[child].start_time, child))
        return Node(number, table[number], tuple(made(child, inside) for child in found))

    return {pid: made(pid, frozenset()) for pid in pids if pid in table}


def snapshot() -> dict[int, Stat]:
    """Every process that can be seen now; those that end meanwhile are left out."""
    found: dict[int, Stat] = {}
    for name in os.listdir("/proc"):
        stat = read_stat(int(name)) if name.isdecimal() else None
        if stat is not None:
            found[int(name)] = stat
    return found
