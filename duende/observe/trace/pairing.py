"""Begins and ends of calls, from several processors, put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from duende.observe.trace.call import Call
from duende.observe.trace.page import ENTERS, FORKS, Event

OPEN = 100_000
"""Calls that have not come to an end: more threads than this no daemon has; the oldest are forgotten."""


class Pairing:
    """Makes calls of events. Events come in batches, each processor's in order; `until` says up to when all have been seen.

    The kernel sorts out by thread when it switches between them, and now and then lets one of a stranger through: those are left out here.
    """

    def __init__(self, followed: Iterable[int] = ()) -> None:
        """For the threads *followed*, and those they start."""
        self.followed = set(followed)
        self.foreign = 0
        """Events of strangers."""
        self.unmatched = 0
        """Ends without a begin: of calls that were under way when tracing began, or whose begin was lost."""
        self._open: dict[int, Event] = {}
        self._early: list[Event] = []

    def calls(self, events: list[Event], until: int) -> Iterator[Call]:
        """The calls that have come to an end by *until* (ns), in the order of their ends; what is later waits for the next batch."""
        merged = sorted(self._early + events)
        cut = len(merged)
        while cut and merged[cut - 1][0] > until:
            cut -= 1
        self._early = merged[cut:]
        under_way = self._open
        for event in merged[:cut]:
            at, kind, tid, number, first, _ = event
            if tid not in self.followed:
                self.foreign += 1
                continue
            if kind == FORKS:
                self.followed.add(number)
                continue
            if kind == ENTERS:
                if len(under_way) >= OPEN:
                    under_way.pop(next(iter(under_way)))
                under_way[tid] = event
                continue
            begun = under_way.pop(tid, None)
            if begun is None or begun[3] != number:
                self.unmatched += 1
                continue
            yield Call(begun[0], tid, number, at - begun[0], first, begun[4], begun[5])
