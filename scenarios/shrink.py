"""Makes a failing schedule smaller: fewer faults that still fail (delta debugging, Zeller and Hildebrandt
2002).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from scenarios.schedule import Schedule, Step

Fails = Callable[[Schedule], Awaitable[bool]]
"""Runs the scenario with a schedule; whether it is still false."""


async def shrink(schedule: Schedule, fails: Fails, *, budget: int = 30) -> Schedule:
    """The smallest schedule found within *budget* runs that fails as the first one does.

    Runs on real processes do not always fail twice; what is returned has failed at least once.
    """
    best, runs, size = schedule, 0, max(1, len(schedule) // 2)
    while best and runs < budget:
        smaller = None
        for begin in range(0, len(best), size):
            if runs >= budget:
                break
            runs += 1
            candidate = (*best[:begin], *best[begin + size :])
            if await fails(candidate):
                smaller = candidate
                break
        if smaller is not None:
            best = smaller
            size = min(size, max(1, len(best) // 2))
        elif size == 1:
            break
        else:
            size //= 2
    if runs < budget and best:
        sooner = earliest(best)
        if sooner != best and await fails(sooner):
            best = sooner
    return best


def earliest(schedule: Sequence[Step]) -> Schedule:
    """The same steps without the waits that the dropped ones left behind."""
    moved, at = [], schedule[0].at if schedule else 0.0
    for before, step in zip((None, *schedule), schedule, strict=False):
        if before is not None:
            at = min(step.at, at + before.hold + GAP)
        moved.append(Step(at=round(min(at, step.at), 6), fault=step.fault, hold=step.hold, pick=step.pick))
        at = moved[-1].at
    return tuple(moved)


GAP = 0.2
"""Seconds left between healing one fault and injecting the next."""
