"""What becomes of block devices whose server has died."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Operation, observed


def _seen(history: Sequence[Operation]) -> dict[str, dict[str, Any]]:
    return {str(each.value["name"]): each.value for each in observed(history, "death")}


def recovered_or_deleted(names: Sequence[str]) -> Checker:
    """Each of these deaths was died, and its device was recovered or deleted as it should be."""

    def recovered_or_deleted_check(history: Sequence[Operation]) -> Result:
        seen = _seen(history)
        if missing := [name for name in names if name not in seen]:
            return vacuous(f"not tried: {', '.join(missing)}")
        wrong = [
            f"{name}: {str(seen[name]['why']).strip().splitlines()[-1]}"
            for name in names
            if seen[name]["why"]
        ]
        return (
            false("; ".join(wrong))
            if wrong
            else true(f"{len(names)} deaths, each device recovered or deleted")
        )

    return recovered_or_deleted_check


def nobody_hangs(names: Sequence[str]) -> Checker:
    """After none of them anybody waits unwakeably."""

    def nobody_hangs_check(history: Sequence[Operation]) -> Result:
        seen = _seen(history)
        looked = [name for name in names if isinstance(seen.get(name, {}).get("blocked"), list)]
        if len(looked) < len(names):
            return vacuous(f"looked after {len(looked)} of {len(names)} only")
        stuck = [
            f"{name}: {', '.join(map(str, blocked))}" for name in names if (blocked := seen[name]["blocked"])
        ]
        return (
            false("; ".join(stuck))
            if stuck
            else true("nobody waits in the unwakeable state after any of them")
        )

    return nobody_hangs_check
