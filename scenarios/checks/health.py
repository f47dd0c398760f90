"""What is made of ill health: one restart for each illness, by the policy, and a new instance without a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.checks.restarts import events
from scenarios.history import Kind, Operation, observed, pairs


def one_restart_for_each_illness(name: str, within: float, illnesses: int) -> Checker:
    """Each time that *name* fell ill it is restarted once, within so many seconds, and never else.

    Fewer than *illnesses* are vacuous. An illness is a fault of the nemesis that took effect.
    """

    def one_restart_for_each_illness_check(history: Sequence[Operation]) -> Result:
        ill = [
            (begun.time, end.time)
            for begun, end in pairs(history)
            if begun.process == "nemesis" and begun.f == "inject" and end and end.kind is Kind.OK
        ]
        restarts = [operation.time for operation in events(history, name, "restarting", "restarted")]
        if len(ill) < illnesses:
            return vacuous(f"{name} was ill only {len(ill)} times, not {illnesses}")
        if early := [at for at in restarts if at < ill[0][0]]:
            return false(f"{name} was restarted at {early[0]:.2f} s, before it was ever ill")
        spans = []
        for number, (began, proven) in enumerate(ill):
            end = ill[number + 1][0] if number + 1 < len(ill) else float("inf")
            found = [at for at in restarts if began <= at < end]
            if len(found) != 1:
                return false(f"{name} fell ill at {began:.2f} s and was restarted {len(found)} times")
            spans.append(found[0] - proven)
        if max(spans) > within:
            return false(f"{name} was restarted {max(spans):.2f} s after it fell ill, limit {within:g} s")
        return true(f"{len(ill)} illnesses of {name}, one restart for each, within {max(spans):.2f} s")

    return one_restart_for_each_illness_check


def starts_afresh(name: str, looks: int) -> Checker:
    """From a start on nobody is told that *name* is unhealthy before it is found so again.

    It takes a verdict that was told before, and so many *looks* between a restart and the next verdict.
    """

    def starts_afresh_check(history: Sequence[Operation]) -> Result:
        fresh, restarted, counted, verdicts = True, False, 0, 0
        for operation in history:
            value = operation.value if isinstance(operation.value, dict) else {}
            if value.get("name") != name:
                continue
            if operation.f == "event":
                kind = str(value.get("kind"))
                if kind == "starting":
                    restarted = verdicts > 0
                    fresh = True
                elif kind == "health":
                    fresh = False
                    verdicts += 1
            elif operation.f == "status" and operation.kind is Kind.OK and fresh:
                counted += restarted
                if value.get("health") == "Unhealthy":
                    return false(f"{name} inherited its health at {operation.time:.2f} s: {value}")
        if not verdicts:
            return vacuous(f"{name} was never found ill")
        if counted < looks:
            return vacuous(f"only {counted} of {looks} looks at {name} between a restart and a verdict")
        return true(f"{verdicts} verdicts about {name}, none of them inherited in {counted} looks")

    return starts_afresh_check


def runtime_left_it_alone(name: str) -> Checker:
    """The runtime restarts *name* neither by a policy that it was given, nor in fact."""

    def runtime_left_it_alone_check(history: Sequence[Operation]) -> Result:
        looks = observed(history, "runtime", name=name)
        for look in looks:
            if look.value["policy"] not in ("", "no") or look.value["restarts"]:
                return false(f"the runtime restarts {name} itself: {look.value}")
        return true(f"the runtime never restarted {name}") if looks else vacuous("nobody asked the runtime")

    return runtime_left_it_alone_check
