"""Interleaves the peers: round after round each of them once, beginning with another one each time."""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.figures import SPARED, Plan, measure
from bench.peers import Peer, PeerError
from fixtures.lease import Reaper

PR_SET_CHILD_SUBREAPER = 36


@dataclass(kw_only=True)
class Outcome:
    """All samples, and what went wrong."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


def become_reaper() -> None:
    """Be the parent of every orphan below, so that nothing a peer leaves behind escapes.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def raise_open_files() -> None:
    """A pidfd per daemon and some peers' pipes need more than 1024 descriptors; all inherit the same."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(
    peers: Sequence[type[Peer]], *, rounds: int, few: int, n: int, plan: Plan, say: Callable[[str], None]
) -> Outcome:
    """All rounds. A peer that fails is reported and tried again in the next round."""
    become_reaper()
    raise_open_files()
    outcome = Outcome()
    began = time.monotonic()
    with Reaper() as reaper:
        SPARED.add(reaper.pid)
        Peer.mark = reaper.environment
        for number in range(rounds):
            turn = number % len(peers)
            for kind in (*peers[turn:], *peers[:turn]):
                for size in (few, n):
                    wanted = Plan(figures=_of_size(plan.figures, size, n), kills=plan.kills, idle=plan.idle)
                    if not wanted.figures:
                        continue
                    since = time.monotonic()
                    try:
                        samples = measure(kind, size, wanted)
                    except PeerError as error:
                        outcome.errors.append(f"round {number + 1}, {kind.name}, {size} daemons: {error}")
                        say(outcome.errors[-1])
                        continue
                    mine = outcome.samples.setdefault(kind.name, {})
                    for figure, values in samples.items():
                        mine.setdefault(figure, []).extend(values)
                    took = time.monotonic() - since
                    say(f"round {number + 1} of {rounds}: {kind.name} with {size}: {took:.1f} s")
    outcome.seconds = time.monotonic() - began
    return outcome


def _of_size(figures: frozenset[str], size: int, n: int) -> frozenset[str]:
    """Only the start is measured with few daemons."""
    if size == n:
        return frozenset(name for name in figures if not name.startswith("start") or name == f"start{n}")
    return figures & {f"start{size}"}
