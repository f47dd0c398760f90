"""Interleaves the peers: round after round each of them once, beginning with another one each time, then the calls to platforms."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.figures import SPARED, Plan, measure
from bench.peers import Peer, PeerError
from bench.platforms import Platform
from bench.platforms.base import CallError, Times, merge
from duende.errors import DuendeError
from fixtures.lease import Reaper
from fixtures.sharing import LabError

PR_SET_CHILD_SUBREAPER = 36
T = TypeVar("T")


@dataclass(kw_only=True)
class Outcome:
    """All samples, and what went wrong."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    calls: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Those of the calls to platforms, by column."""
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
    peers: Sequence[type[Peer]],
    *,
    rounds: int,
    few: int,
    n: int,
    plan: Plan,
    say: Callable[[str], None],
    platforms: Sequence[type[Platform]] = (),
    calls: frozenset[str] = frozenset(),
    times: Times | None = None,
) -> Outcome:
    """All rounds. What fails is reported and tried again in the next round."""
    become_reaper()
    raise_open_files()
    outcome = Outcome()
    began = time.monotonic()
    with Reaper() as reaper:
        SPARED.add(reaper.pid)
        Peer.mark = reaper.environment
        for number in range(rounds):
            at = f"round {number + 1} of {rounds}"
            for kind in _turned(peers, number):
                for size in (few, n):
                    wanted = Plan(figures=_of_size(plan.figures, size, n), kills=plan.kills, idle=plan.idle)
                    if wanted.figures:
                        _life(kind, size, wanted, outcome, at, say)
            for platform in _turned(platforms, number):
                _calls(platform, calls, times or Times(), outcome, at, say)
    outcome.seconds = time.monotonic() - began
    return outcome


def _turned(kinds: Sequence[T], number: int) -> tuple[T, ...]:
    turn = number % len(kinds) if kinds else 0
    return (*kinds[turn:], *kinds[:turn])


def _life(
    kind: type[Peer], size: int, wanted: Plan, outcome: Outcome, at: str, say: Callable[[str], None]
) -> None:
    since = time.monotonic()
    try:
        samples = measure(kind, size, wanted)
    except PeerError as error:
        outcome.errors.append(f"{at}, {kind.name}, {size} daemons: {error}")
        say(outcome.errors[-1])
        return
    mine = outcome.samples.setdefault(kind.name, {})
    for figure, values in samples.items():
        mine.setdefault(figure, []).extend(values)
    say(f"{at}: {kind.name} with {size}: {time.monotonic() - since:.1f} s")


def _calls(
    platform: type[Platform],
    figures: frozenset[str],
    times: Times,
    outcome: Outcome,
    at: str,
    say: Callable[[str], None],
) -> None:
    """The runtime lives for this turn only: no peer is measured beside it."""
    since = time.monotonic()
    try:
        merge(outcome.calls, asyncio.run(platform().measure(figures, times)))
    except (CallError, LabError, DuendeError, OSError) as error:
        outcome.errors.append(f"{at}, calls to {platform.name}: {error}")
        say(outcome.errors[-1])
        return
    say(f"{at}: calls to {platform.name}: {time.monotonic() - since:.1f} s")


def _of_size(figures: frozenset[str], size: int, n: int) -> frozenset[str]:
    """Only the start is measured with few daemons."""
    if size == n:
        return frozenset(name for name in figures if not name.startswith("start") or name == f"start{n}")
    return figures & {f"start{size}"}
