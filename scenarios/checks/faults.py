"""Whether the faults took effect. Without that, whatever else held proves nothing."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.checks.core import Checker, Result, false, true, unknown, vacuous
from scenarios.history import Kind, Operation, pairs


def took_effect(*names: str) -> Checker:
    """Every injected fault was proven, each of *names* at least once, and every one was healed."""

    def took_effect_check(history: Sequence[Operation]) -> Result:
        proven: list[str] = []
        for begun, end in pairs(history):
            if begun.process != "nemesis":
                continue
            fault = str(begun.value.get("fault"))
            if begun.f == "inject":
                if end is None or end.kind is not Kind.OK:
                    why = "it never ended" if end is None else str(end.value)
                    return vacuous(f"{fault} did not take effect: {why}")
                proven.append(fault)
            elif begun.f == "heal" and (end is None or end.kind is not Kind.OK):
                return unknown(f"{fault} was not healed: {end.value if end else 'it never ended'}")
        if absent := [name for name in names if name not in proven]:
            return vacuous(f"never injected: {', '.join(absent)}")
        if not proven:
            return vacuous("no fault was injected")
        return true(f"{len(proven)} faults took effect")

    return took_effect_check


def recovered() -> Checker:
    """After the last fault was healed, everything was well again within the deadline of the scenario."""

    def recovered_check(history: Sequence[Operation]) -> Result:
        for begun, end in pairs(history):
            if begun.process == "engine" and begun.f == "recover":
                if end is not None and end.kind is Kind.OK:
                    return true(f"recovered {end.time - begun.time:.2f} s after healing")
                return false(f"did not recover: {end.value if end else 'it never ended'}")
        return unknown("recovery was never tried")

    return recovered_check
