"""What is said of a daemon's state."""

from __future__ import annotations

from collections.abc import Sequence

from duende.states import TRANSITIONS, Phase
from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Kind, Operation, observed, pairs

PHASES = {phase.value: phase for phase in Phase}


def statuses(history: Sequence[Operation]) -> list[dict[str, object]]:
    """Every state that was told: in answers to status and list, and in events."""
    found: list[dict[str, object]] = []
    for operation in history:
        if operation.kind is Kind.OK and operation.f == "status":
            found.append(operation.value)
        elif operation.kind is Kind.OK and operation.f == "list":
            found.extend(operation.value)
        elif operation.process == "manager" and operation.f == "event":
            found.append(operation.value)
    return found


def always_one_of_seven() -> Checker:
    """Every state that is told is one of the seven."""

    def always_one_of_seven_check(history: Sequence[Operation]) -> Result:
        told = statuses(history)
        if not told:
            return vacuous("no state was ever told")
        strange = [view for view in told if view.get("status") not in PHASES]
        if strange:
            return false(f"not a state: {strange[0]}")
        return true(f"{len(told)} states told, all of the seven")

    return always_one_of_seven_check


def transitions_legal() -> Checker:
    """One event after the other, each daemon only takes transitions that the table has."""

    def transitions_legal_check(history: Sequence[Operation]) -> Result:
        phases: dict[str, Phase] = {}
        steps = 0
        for operation in observed(history, "event"):
            name, phase = operation.value["name"], PHASES.get(operation.value["status"])
            if phase is None:
                return false(f"not a state: {operation.value}")
            before = phases.get(name, Phase.CREATED)
            if phase is not before:
                steps += 1
                if phase not in TRANSITIONS[before]:
                    return false(
                        f"{name} went from {before.value} to {phase.value} (operation {operation.index})"
                    )
            phases[name] = phase
        return true(f"{steps} transitions, all legal") if steps else vacuous("no transition was seen")

    return transitions_legal_check


def never_running_without_a_process() -> Checker:
    """Nothing is ever Running, Paused or Stopping as pid 0."""

    def never_running_without_a_process_check(history: Sequence[Operation]) -> Result:
        told = statuses(history)
        alive = (Phase.RUNNING.value, Phase.PAUSED.value)
        ghosts = [view for view in told if view.get("status") in alive and not view.get("pid")]
        if ghosts:
            return false(f"alive without a process: {ghosts[0]}")
        return (
            true(f"{len(told)} states told, none alive without a process")
            if told
            else vacuous("no state told")
        )

    return never_running_without_a_process_check


def ends_as(name: str, status: str, reason: str = "") -> Checker:
    """The last that is told of *name* is that *status*, with *reason* in its reason."""

    def ends_as_check(history: Sequence[Operation]) -> Result:
        answers = [view for view in _answers(history) if view.get("name") == name]
        if not answers:
            return vacuous(f"the state of {name} was never asked")
        last = answers[-1]
        if last.get("status") != status or reason.lower() not in str(last.get("reason") or "").lower():
            return false(
                f"{name} ended as {last.get('status')} ({last.get('reason')}), not {status} ({reason})"
            )
        return true(f"{name} ended as {status}" + (f" ({last.get('reason')})" if reason else ""))

    return ends_as_check


def undisturbed(*names: str) -> Checker:
    """Each of *names* is Running as the same process whenever it is asked, and never restarted."""

    def undisturbed_check(history: Sequence[Operation]) -> Result:
        pids: dict[str, object] = {}
        asked = 0
        for view in _answers(history):
            name = str(view.get("name"))
            if name not in names:
                continue
            asked += 1
            if view.get("status") != Phase.RUNNING.value or view.get("restarts"):
                return false(f"{name} was disturbed: {view}")
            if pids.setdefault(name, view.get("pid")) != view.get("pid"):
                return false(f"{name} is another process than before: {view}")
        if missing := set(names) - set(pids):
            return vacuous(f"never asked: {', '.join(sorted(missing))}")
        return true(f"{len(names)} daemons undisturbed in {asked} answers")

    return undisturbed_check


def _answers(history: Sequence[Operation]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for _, end in pairs(history):
        if end is not None and end.kind is Kind.OK:
            if end.f == "status":
                found.append(end.value)
            elif end.f == "list":
                found.extend(end.value)
    return found
