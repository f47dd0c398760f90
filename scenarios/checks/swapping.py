"""DT-007: what becomes of a daemon that serves swap, and of whoever needs memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scenarios.checks.core import Checker, Result, false, true, unknown, vacuous
from scenarios.history import Operation, observed

WAITS_FOR_SWAP = (
    "do_swap_page",
    "swap_writepage",
    "__swap_writepage",
    "swap_read_folio",
    "folio_wait_bit_common",
)
"""Functions of the kernel in which a task waits for a page that is in swap, or on its way there (mm/memory.c, mm/page_io.c)."""


def _of(history: Sequence[Operation], what: str, half: str) -> list[dict[str, Any]]:
    return [each.value for each in observed(history, f"swap-{what}") if each.value["half"] == half]


def deadlocks(half: str, stall: float) -> Checker:
    """The load of that half stands still for *stall* seconds, and a thread of the server of its swap waits, unwakeably, for that swap."""

    def deadlocks_check(history: Sequence[Operation]) -> Result:
        looks = _of(history, "look", half)
        if not any(each["swapped"] or each["free"] < 32 for each in looks):
            return vacuous(f"{half}: memory never ran out")
        stuck = _of(history, "stuck", half)
        if not stuck and (silent := _of(history, "silent", half)):
            told = f"{looks[-1]['done']} MiB done, nothing heard for {silent[-1]['seconds']:.0f} s"
            return unknown(
                f"{half}: the whole guest fell silent, and nobody could look at the daemon: {told}"
            )
        if not stuck:
            return false(f"{half}: it went on: {looks[-1]['done']} MiB done")
        idle = looks[-1]["idle"]
        if idle < stall:
            return false(f"{half}: only {idle:g} s without progress")
        waiting = [
            (task["tid"], name)
            for task in stuck[-1]["server"]
            if task["state"] == "D"
            for name in WAITS_FOR_SWAP
            if any(name in frame for frame in task["stack"])
        ]
        if not waiting:
            return false(f"{half}: no progress for {idle:g} s, but the server does not wait for its own swap")
        tid, name = waiting[0]
        return true(
            f"{half}: deadlock after {stuck[-1]['done']} MiB: no progress for {idle:.0f} s, the server's thread {tid} waits in {name} "
            "for the device that it serves"
        )

    return deadlocks_check


def completes(half: str, swapped: int) -> Checker:
    """The load of that half ends, everything it wrote reads back, and at least *swapped* MiB of it were in swap."""

    def completes_check(history: Sequence[Operation]) -> Result:
        looks, ends = _of(history, "look", half), _of(history, "end", half)
        most = max((each["swapped"] for each in looks), default=0)
        if not ends:
            return vacuous(f"{half}: it was not seen to its end")
        end = ends[-1]
        if end.get("stuck") or end.get("unfinished"):
            return false(f"{half}: it did not end: {end['done']} MiB done")
        if end["wrong"]:
            return false(f"{half}: {end['wrong']} MiB read back as something else")
        if most < swapped:
            return vacuous(f"{half}: at most {most} MiB were in swap, {swapped} are wanted")
        return true(f"{half}: completed in {end['t']:.0f} s, with up to {most} MiB in swap, all read back")

    return completes_check


def same_load(first: str, second: str) -> Checker:
    """Both halves began with the same load, seed, swap and observer, and differ in the lock alone."""

    def same_load_check(history: Sequence[Operation]) -> Result:
        begun = [_of(history, "begin", half) for half in (first, second)]
        if not all(begun):
            return vacuous("one of them never began")
        one, other = ({key: each[-1][key] for key in ("load", "seed", "swap")} for each in begun)
        if one != other:
            return false(f"{first} has {one}, {second} has {other}")
        if begun[0][-1]["locked"] or not begun[1][-1]["locked"]:
            return false(f"{first} is locked, or {second} is not")
        return true(f"both: {one['load']} MiB of load on {one['swap']} MiB of swap, seed {one['seed']}")

    return same_load_check
