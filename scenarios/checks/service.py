"""Whether a stateful daemon keeps its word to its clients, and is there for them again soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from scenarios.checks.core import Checker, Result, false, true, unknown, vacuous
from scenarios.history import Kind, Operation, observed, pairs


def no_acknowledged_write_lost(at_least: int) -> Checker:
    """What was acknowledged is in every later read and in the end on disk, once, and nothing is there that nobody wrote.

    A write without an answer may be there or not. Fewer than *at_least* acknowledged writes are vacuous, and so is
    a run in which nobody looked at the disk after the last of them.
    """

    def no_acknowledged_write_lost_check(history: Sequence[Operation]) -> Result:
        puts = [(begun, end) for begun, end in pairs(history) if begun.f == "put"]
        known = {begun.value["value"] for begun, _ in puts}
        kept = [(end.time, begun.value["value"]) for begun, end in puts if end and end.kind is Kind.OK]
        reads = [
            (begun.time, end.value["values"], "a read")
            for begun, end in pairs(history)
            if begun.f == "read" and end is not None and end.kind is Kind.OK
        ]
        disk = observed(history, "kept")
        reads += [(look.time, look.value["values"], "the disk") for look in disk]
        for at, values, where in reads:
            if lost := sorted({value for when, value in kept if when < at} - set(values)):
                return false(
                    f"{len(lost)} acknowledged writes are missing in {where} at {at:.2f} s: {lost[:5]}"
                )
            if strange := sorted(set(values) - known):
                return false(f"{where} at {at:.2f} s has what nobody wrote: {strange[:5]}")
            if double := [value for value, times in Counter(values).items() if times > 1]:
                return false(f"{where} at {at:.2f} s has twice: {sorted(double)[:5]}")
        if len(kept) < at_least:
            return vacuous(f"only {len(kept)} of {at_least} writes were acknowledged")
        if not disk or disk[-1].time < max(when for when, _ in kept):
            return vacuous("nobody looked at the disk after the last write")
        return true(f"{len(kept)} acknowledged writes, none lost, in {len(reads)} reads")

    return no_acknowledged_write_lost_check


def available_again_within(seconds: float, *, at_once: Collection[str] = ()) -> Checker:
    """After each fault a write succeeds within so many seconds: after its injection where it is one of *at_once* and
    leaves nothing to heal, else after its healing.

    A fault that is followed by another before the time is over, and before a write, is left to that one. It is
    unknown where the clients went before the time was over.
    """

    def available_again_within_check(history: Sequence[Operation]) -> Result:
        writes = [
            (begun.time, end.time)
            for begun, end in pairs(history)
            if begun.f == "put" and end is not None and end.kind is Kind.OK
        ]
        last = max((o.time for o in history if o.f == "put"), default=0.0)
        moments = _moments(history, at_once)
        spans = []
        for number, (at, fault) in enumerate(moments):
            span = min((end for begun, end in writes if begun >= at), default=None)
            following = moments[number + 1][0] if number + 1 < len(moments) else None
            if following is not None and following - at <= seconds and (span is None or span > following):
                continue
            if span is None and last - at <= seconds:
                return unknown(f"the clients went {last - at:.2f} s after {fault}, without a write")
            if span is None or span - at > seconds:
                took = "never" if span is None else f"after {span - at:.2f} s"
                return false(f"available again {took} after {fault} at {at:.2f} s, limit {seconds:g} s")
            spans.append(span - at)
        if not spans:
            return vacuous("no fault took effect")
        return true(f"available within {max(spans):.2f} s after each of {len(spans)} faults")

    return available_again_within_check


def _moments(history: Sequence[Operation], at_once: Collection[str]) -> list[tuple[float, str]]:
    """When the system was left alone with what each fault had done, in order."""
    found = []
    for begun, end in pairs(history):
        if begun.process != "nemesis" or end is None or end.kind is not Kind.OK:
            continue
        fault = str(begun.value.get("fault"))
        if begun.f == ("inject" if fault in at_once else "heal"):
            found.append((end.time, fault))
    return sorted(found)


def ends_only_by(name: str, *details: str) -> Checker:
    """Every end of *name* is one of *details*, as the faults and the operator cause them; not one of its own."""

    def ends_only_by_check(history: Sequence[Operation]) -> Result:
        ends = observed(history, "event", name=name, kind="exited")
        for end in ends:
            if end.value["detail"] not in details:
                return false(f"{name} ended by itself at {end.time:.2f} s: {end.value['detail']}")
        return true(f"{len(ends)} ends of {name}, none by itself") if ends else vacuous(f"{name} never ended")

    return ends_only_by_check
