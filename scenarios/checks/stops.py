"""Whether a stop is what it says: proven, in time, of the whole tree, and for good."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.checks.core import Checker, Result, false, true, unknown, vacuous
from scenarios.history import Kind, Operation, observed, pairs


def _stops(history: Sequence[Operation]) -> list[tuple[Operation, Operation | None]]:
    return [(begun, end) for begun, end in pairs(history) if begun.f == "stop"]


def stops_proven() -> Checker:
    """Every stop returns, with a proof that nothing is left."""

    def stops_proven_check(history: Sequence[Operation]) -> Result:
        stops = _stops(history)
        for begun, end in stops:
            if end is None or end.kind is Kind.INFO:
                return unknown(f"the stop of {begun.value} has no end")
            if end.kind is Kind.FAIL:
                return false(f"a stop failed: {end.value}")
            if not end.value.get("proven"):
                return false(f"a stop without proof: {end.value}")
        return true(f"{len(stops)} stops proven") if stops else vacuous("nothing was stopped")

    return stops_proven_check


def stops_take(shortest: float, longest: float) -> Checker:
    """Every stop takes between *shortest* and *longest* seconds: it waits for the tree, and not for ever."""

    def stops_take_check(history: Sequence[Operation]) -> Result:
        spans = [end.time - begun.time for begun, end in _stops(history) if end is not None]
        if not spans:
            return vacuous("no stop was completed")
        if min(spans) < shortest or max(spans) > longest:
            bounds = f"{shortest:g} to {longest:g} s"
            return false(f"stops took {min(spans):.3f} to {max(spans):.3f} s, not {bounds}")
        return true(f"stops took {min(spans):.3f} to {max(spans):.3f} s")

    return stops_take_check


def certificates_name(field: str) -> Checker:
    """Every stop had to KILL, and its certificate names the pid that was observed as *field*."""

    def certificates_name_check(history: Sequence[Operation]) -> Result:
        stops = _stops(history)
        checked = 0
        for begun, end in stops:
            earlier = [
                o for o in observed(history, "tree", name=begun.value["name"]) if o.index < begun.index
            ]
            if end is None or end.kind is not Kind.OK or not earlier:
                continue
            pid = earlier[-1].value[field]
            named = [str(text).split()[0] for text in end.value.get("stragglers", ())]
            if str(pid) not in named:
                return false(f"the certificate names {named}, not the {field} {pid}")
            if not end.value.get("escalated"):
                return false(f"the certificate does not say that KILL was needed: {end.value}")
            checked += 1
        return (
            true(f"{checked} certificates name the {field}")
            if checked
            else vacuous("no such tree was stopped")
        )

    return certificates_name_check


def nothing_left() -> Checker:
    """Whenever it was looked for survivors, there were none."""

    def nothing_left_check(history: Sequence[Operation]) -> Result:
        looks = observed(history, "survivors")
        for look in looks:
            if look.value["pids"]:
                return false(f"survivors: {look.value['pids']}")
        return true(f"no survivor in {len(looks)} looks") if looks else vacuous("nobody looked for survivors")

    return nothing_left_check


def between_lives(name: str, times: int) -> Checker:
    """At least *times* the stop came while *name* was down and about to be restarted; fewer are vacuous."""

    def between_lives_check(history: Sequence[Operation]) -> Result:
        last, count = "", 0
        for operation in history:
            value = operation.value if isinstance(operation.value, dict) else {}
            if value.get("name") != name:
                continue
            if operation.f == "event":
                last = str(value["kind"])
            elif operation.f == "stop" and operation.kind is Kind.INVOKE:
                count += last == "restarting"
        if count < times:
            return vacuous(f"only {count} stops of {name} came between two lives, not {times}")
        return true(f"{count} stops came between two lives")

    return between_lives_check


def stays_stopped() -> Checker:
    """After a stop has returned nothing starts until somebody asks for it."""

    def stays_stopped_check(history: Sequence[Operation]) -> Result:
        stopped: set[str] = set()
        count = 0
        for operation in history:
            name = operation.value.get("name") if isinstance(operation.value, dict) else None
            if name is None:
                continue
            if operation.f == "stop" and operation.kind is Kind.OK:
                stopped.add(name)
                count += 1
            elif operation.f in ("start", "restart") and operation.kind is Kind.INVOKE:
                stopped.discard(name)
            elif operation.f == "event" and operation.value.get("kind") == "starting" and name in stopped:
                return false(f"{name} was started though it was stopped (operation {operation.index})")
        return true(f"{count} stops, all of them lasting") if count else vacuous("nothing was stopped")

    return stays_stopped_check
