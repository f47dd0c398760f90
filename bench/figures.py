"""Measures one life of one supervisor: start, status, idle, kills, the death of all, stop. Judges nothing."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.build import compiled
from bench.counter import Counter
from bench.peers import Control, Peer, PeerError
from bench.peers.base import PATIENCE
from bench.procs import Held, all_dead, cpu_ms, descendants, end, hold, pss_bytes, runs

START_WITHIN = 120.0
"""Seconds until all must run. The slowest peer measured needed 17."""
SETTLE = 1.3
"""Seconds of quiet before kills: runit and s6 count a run below one second as a failure and wait."""
SAMPLES_ONE = 101
SAMPLES_ALL = 5

SPARED: set[int] = set()
"""Children of the bench that belong to no peer: the reaper."""

Samples = dict[str, list[float]]
"""Figure name to what was measured, in the figure's unit."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one life measures."""

    figures: frozenset[str]
    """Names out of `table.FIGURES`."""
    kills: int = 8
    """Daemons killed one after the other."""
    idle: float = 10.0
    """Seconds over which idleness is measured."""


@contextmanager
def living(kind: type[Peer], n: int) -> Iterator[tuple[Peer, Counter]]:
    """A prepared peer in a folder of its own; whatever happens, nothing of it is left.

    Raises:
        PeerError: something was left that not even KILL ended.
    """
    # A page on tmpfs costs no writeback, a page on a disk would.
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a file of ours with a random name
    with (
        tempfile.TemporaryDirectory(prefix="duende-bench-") as folder,
        tempfile.TemporaryDirectory(dir=shared) as quick,
    ):
        counter = Counter(Path(quick) / "counter")
        peer = kind(Path(folder), compiled("tiny"), counter.path, n)
        try:
            peer.prepare()
            yield peer, counter
        finally:
            if peer.pid and not peer.ended(0.0):
                peer.stop()
            quiet = peer.ended() and empty(PATIENCE)
            left = clear()
            counter.close()
        if not quiet or left:
            raise PeerError(
                f"{kind.name} did not end by itself; {left} processes were killed. {peer.output()}"
            )


def ours() -> list[int]:
    """Every process below this one. The bench is a subreaper, so that includes those whose parents ended."""
    return [pid for pid in descendants(os.getpid()) if pid != os.getpid() and pid not in SPARED]


def empty(timeout: float) -> bool:
    """Wait until nothing is left below this process: runsvdir ends before the runsv it asked to."""
    deadline = time.monotonic() + timeout
    while True:
        reap()
        group = hold(ours())
        dead = all_dead(group, max(0.0, deadline - time.monotonic()))
        for held in group:
            held.close()
        if not group or not dead:
            return not group


def clear() -> int:
    """Kill what is left below this process; how many that were."""
    count = 0
    for _ in range(10):  # a supervisor that is killed late leaves children that are found in the next pass
        reap()
        group = hold(ours())
        if not group:
            break
        count += len(group)
        end(group, 2.0)
    return count


def reap() -> None:
    """Collect orphans that came to us and ended."""
    while True:
        try:
            if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is None:
                return
        except ChildProcessError:
            return


def measure(kind: type[Peer], n: int, plan: Plan) -> Samples:
    """One life of *kind* over *n* daemons.

    Raises:
        PeerError: it did not do what was asked.
    """
    samples: Samples = {}
    wanted = plan.figures
    with living(kind, n) as (peer, counter):
        counter.aim(n)
        began = peer.start()
        if not _reached(peer, counter, n):
            raise PeerError(f"only {counter.count} of {n} started within {START_WITHIN:g} s. {peer.output()}")
        samples[f"start{n}"] = [(max(start.at_ns for start in counter.starts()[:n]) - began) / 1e6]
        daemons = {start.pid for start in counter.starts()}
        if "cpu" in wanted:
            samples["cpu"] = [cpu_ms(supervisors(daemons))]
        time.sleep(SETTLE)  # also because circus forgets a TERM that comes while it starts
        if wanted & {"restart", "mass", "pss", "idle", "one", "all"}:
            samples |= _alive(peer, counter, n, plan, daemons)
        if f"stop{n}" in wanted:
            samples[f"stop{n}"] = [_stop(peer, n)]
    return {name: values for name, values in samples.items() if name in wanted}


def _reached(peer: Peer, counter: Counter, target: int) -> bool:
    """Wait for the count, but not for a supervisor that has ended."""
    deadline = time.monotonic() + START_WITHIN
    while not counter.wait(target, 1.0):
        if time.monotonic() > deadline or peer.ended(0.0):
            return counter.count >= target
    return True


def supervisors(daemons: set[int]) -> list[int]:
    """All processes of the peer but the daemons."""
    return [pid for pid in ours() if pid not in daemons]


def _alive(peer: Peer, counter: Counter, n: int, plan: Plan, daemons: set[int]) -> Samples:
    samples: Samples = {}
    if "pss" in plan.figures:
        samples["pss"] = [pss_bytes(supervisors(daemons)) / 1e6]
    if plan.figures & {"one", "all"}:
        samples |= _control(peer, n)
    if "idle" in plan.figures:
        watched = supervisors(daemons)
        before, since = cpu_ms(watched), time.monotonic()
        time.sleep(plan.idle)
        samples["idle"] = [(cpu_ms(watched) - before) / (time.monotonic() - since)]
    if "restart" in plan.figures:
        samples["restart"] = _kills(peer, counter, plan.kills)
        time.sleep(SETTLE)
    if "mass" in plan.figures:
        samples["mass"] = [_mass(peer, counter, n)]
        time.sleep(SETTLE)
    return samples


def alive(peer: Peer) -> list[int]:
    """The tiny processes that live now, told by what they execute."""
    return [pid for pid in ours() if runs(pid, peer.tiny)]


def _kills(peer: Peer, counter: Counter, kills: int) -> list[float]:
    """KILL one after the other, spread over all: ms from the signal to its successor's first instruction."""
    pids = sorted(alive(peer))
    chosen = [pids[index * len(pids) // kills] for index in range(kills)]
    samples = []
    for pid in chosen:
        held = Held(pid)
        before = counter.count
        counter.aim(before + 1)
        sent = time.monotonic_ns()
        held.send(signal.SIGKILL)
        if not _reached(peer, counter, before + 1):
            raise PeerError(
                f"a killed daemon was not started again within {START_WITHIN:g} s. {peer.output()}"
            )
        samples.append((counter.starts(before)[0].at_ns - sent) / 1e6)
        held.close()
    return samples


def _mass(peer: Peer, counter: Counter, n: int) -> float:
    """KILL all at once: ms from the first signal until as many have started again."""
    group = hold(alive(peer), peer.tiny)
    if len(group) != n:
        raise PeerError(f"{len(group)} of {n} daemons run before the death of all")
    before = counter.count
    counter.aim(before + n)
    sent = time.monotonic_ns()
    for held in group:
        held.send(signal.SIGKILL)
    if not _reached(peer, counter, before + n):
        raise PeerError(
            f"{counter.count - before} of {n} came back within {START_WITHIN:g} s. {peer.output()}"
        )
    for held in group:
        held.close()
    return (max(start.at_ns for start in counter.starts(before)) - sent) / 1e6


def _stop(peer: Peer, n: int) -> float:
    """Ask the supervisor to end: ms until the last daemon is dead."""
    group = hold(alive(peer), peer.tiny)
    if len(group) != n:
        raise PeerError(f"{len(group)} of {n} daemons run before the stop")
    asked = time.monotonic_ns()
    peer.stop()
    if not all_dead(group, START_WITHIN):
        raise PeerError(f"daemons live {START_WITHIN:g} s after the stop. {peer.output()}")
    took = (time.monotonic_ns() - asked) / 1e6
    for held in group:
        held.close()
    return took


def _control(peer: Peer, n: int) -> Samples:
    control = peer.connect()
    if control is None:
        return {}
    try:
        return {
            "one": [_timed(control.one, index * n // SAMPLES_ONE) for index in range(SAMPLES_ONE)],
            "all": [_timed(_expect_all, control, n) for _ in range(SAMPLES_ALL)],
        }
    finally:
        control.close()


def _expect_all(control: Control, n: int) -> None:
    told = control.all()
    if told != n:
        raise PeerError(f"the status of all has {told} daemons, not {n}")


def _timed(call: Callable[..., None], *arguments: object) -> float:
    began = time.monotonic_ns()
    call(*arguments)
    return (time.monotonic_ns() - began) / 1e6
