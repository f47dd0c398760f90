"""The nemesis's plan: which fault, when, for how long.

A pure function of the seed: the same seed gives the same plan.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of the plan."""

    at: float
    """Seconds after the workload began."""
    fault: str
    """Name of the fault."""
    hold: float
    """Seconds until it is healed."""
    pick: int
    """A random number with which the fault chooses among its targets."""


Schedule = tuple[Step, ...]


def rng(seed: int, purpose: str) -> random.Random:
    """A source of randomness for one *purpose*, independent of all others of the same seed.

    Independent so that a workload that draws one number more does not change the faults.
    """
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def plan(
    seed: int, faults: Sequence[str], *, count: int, first: float = 0.2, gap: float = 1.0, hold: float = 0.5
) -> Schedule:
    """A plan of *count* faults, every fault at least once if there are that many.

    The gap between two beginnings varies between half and one and a half of *gap* seconds, the hold likewise,
    and a fault is healed before the next one begins, so that every proof is about one fault.
    """
    if not faults or count <= 0:
        return ()
    source = rng(seed, "nemesis")
    order: list[str] = []
    while len(order) < count:
        turn = list(faults)
        source.shuffle(turn)
        order.extend(turn)
    steps, at = [], first
    for name in order[:count]:
        length = hold * source.uniform(0.5, 1.5)
        steps.append(Step(at=round(at, 6), fault=name, hold=round(length, 6), pick=source.getrandbits(31)))
        at += max(length, gap * source.uniform(0.5, 1.5))
    return tuple(steps)
