"""Restarts: that they come, when they come, and when they end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Operation, observed


def events(history: Sequence[Operation], name: str, *kinds: str) -> list[Operation]:
    """The manager's events of those *kinds* about *name*."""
    return [o for o in observed(history, "event", name=name) if o.value["kind"] in kinds]


def gives_up(name: str, after: int) -> Checker:
    """Exactly *after* restarts are tried, then "gave up" is an event, a state, and the end of it."""

    def gives_up_check(history: Sequence[Operation]) -> Result:
        starts = events(history, name, "starting")
        if len(starts) < 2:
            return vacuous(f"{name} was never restarted")
        ends = events(history, name, "gave-up")
        if not ends:
            return false(f"{name} was restarted {len(starts) - 1} times and nobody gave up")
        if len(starts) - 1 != after:
            return false(f"{name} was restarted {len(starts) - 1} times, not {after}")
        later = [start for start in starts if start.index > ends[0].index]
        if later:
            return false(f"{name} was started after giving up (operation {later[0].index})")
        if ends[0].value["status"] != "Failed":
            return false(f"{name} gave up but is {ends[0].value['status']}")
        return true(f"gave up on {name} after {after} restarts")

    return gives_up_check


def follows_backoff(
    name: str, *, initial: float, multiplier: float, cap: float, early: float = 0.01, late: float = 0.5
) -> Checker:
    """The pauses between a failure and the next start are min(initial x multiplier^n, cap), not shorter,
    hardly longer.
    """

    def follows_backoff_check(history: Sequence[Operation]) -> Result:
        seen = events(history, name, "starting", "failed")
        pauses = [
            after.time - before.time
            for before, after in pairwise(seen)
            if (before.value["kind"], after.value["kind"]) == ("failed", "starting")
        ]
        if len(pauses) < 3:
            return vacuous(f"only {len(pauses)} restarts of {name}")
        for n, pause in enumerate(pauses):
            due = min(initial * multiplier**n, cap)
            if not due - early <= pause <= due + late:
                return false(f"restart {n} of {name} came after {pause:.3f} s, due after {due:.3f} s")
        return true(f"{len(pauses)} restarts of {name} follow the backoff")

    return follows_backoff_check


def exit_seen_within(seconds: float) -> Checker:
    """From each observed death of a main process to the manager's event it takes at most that long."""

    def exit_seen_within_check(history: Sequence[Operation]) -> Result:
        deaths = observed(history, "death")
        worst = 0.0
        for death in deaths:
            after = [
                e
                for e in events(history, death.value["name"], "exited")
                if e.time >= death.value["died_at"] - 0.05
            ]
            if not after:
                return false(
                    f"the death of {death.value['name']} (pid {death.value['pid']}) was never reported"
                )
            worst = max(worst, after[0].time - death.value["died_at"])
        if worst > seconds:
            return false(f"a death was reported {worst:.3f} s later, limit {seconds:g} s")
        return (
            true(f"{len(deaths)} deaths reported within {worst:.3f} s") if deaths else vacuous("nobody died")
        )

    return exit_seen_within_check


def exit_recorded(name: str, code: int) -> Checker:
    """Every exit of *name* is recorded with that *code*, and nothing restarts it."""

    def exit_recorded_check(history: Sequence[Operation]) -> Result:
        exits = events(history, name, "exited")
        if not exits:
            return vacuous(f"{name} never ended")
        for operation in exits:
            if operation.value["detail"] != f"exit code {code}":
                return false(f"{name} is recorded as {operation.value['detail']!r}, not exit code {code}")
        again = [o for o in events(history, name, "starting") if o.index > exits[0].index]
        if again:
            return false(f"{name} was restarted (operation {again[0].index})")
        return true(f"{name} is recorded with exit code {code} and was not restarted")

    return exit_recorded_check


def restarted_at_least(name: str, times: int) -> Checker:
    """The scenario really had that many restarts; fewer are vacuous."""

    def restarted_at_least_check(history: Sequence[Operation]) -> Result:
        count = max(0, len(events(history, name, "starting")) - 1)
        told = [
            o.value.get("restarts", 0)
            for o in history
            if isinstance(o.value, dict) and o.value.get("name") == name
        ]
        count = max([count, *told])
        return (
            true(f"{count} restarts of {name}")
            if count >= times
            else vacuous(f"only {count} restarts of {name}")
        )

    return restarted_at_least_check


def never_ended(name: str, *, before: str) -> Checker:
    """The process of *name* did not end before the first operation *before* on it began."""

    def never_ended_check(history: Sequence[Operation]) -> Result:
        asked = [o for o in history if o.f == before and o.value and o.value.get("name") == name]
        if not asked or not events(history, name, "running"):
            return vacuous(f"{name} never ran, or no {before} was asked for")
        early = [o for o in events(history, name, "exited") if o.index < asked[0].index]
        if early:
            return false(f"{name} ended by itself: {early[0].value['detail']}")
        return true(f"{name} ran until it was asked to {before}")

    return never_ended_check


def keeps_restarting(name: str, times: int) -> Checker:
    """A daemon that is always to be restarted really was, that often; to stop half way is false."""

    def keeps_restarting_check(history: Sequence[Operation]) -> Result:
        counted = observed(history, "flaps", name=name)
        if not counted:
            return vacuous("nobody counted the restarts")
        found = counted[-1].value["restarts"]
        return (
            true(f"{found} restarts")
            if found >= times
            else false(f"restarting ended after {found} of {times}")
        )

    return keeps_restarting_check
