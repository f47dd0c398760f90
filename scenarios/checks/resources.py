"""What the manager costs over time."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Operation, observed


def cpu_below(percent: float, over: float) -> Checker:
    """Between the first and the last sample, at least *over* seconds apart, less than *percent* of a core was
    used.
    """

    def cpu_below_check(history: Sequence[Operation]) -> Result:
        samples = observed(history, "resources")
        if len(samples) < 2 or samples[-1].time - samples[0].time < over:
            return vacuous(f"not watched for {over:g} s")
        span = samples[-1].time - samples[0].time
        used = (samples[-1].value["cpu_ms"] - samples[0].value["cpu_ms"]) / 10 / span
        text = f"{used:.2f} % of a core over {span:.0f} s"
        return true(text) if used < percent else false(f"{text}, limit {percent:g} %")

    return cpu_below_check


def flat(field: str, allowance: float, *, warm_up: int = 2) -> Checker:
    """From the sample after *warm_up* to the last, *field* grows by at most *allowance*."""

    def flat_check(history: Sequence[Operation]) -> Result:
        values = [operation.value[field] for operation in observed(history, "resources")]
        if len(values) < warm_up + 3:
            return vacuous(f"only {len(values)} samples of {field}")
        growth = values[-1] - values[warm_up]
        text = f"{field} went from {values[warm_up]:g} to {values[-1]:g}"
        return true(text) if growth <= allowance else false(f"{text}, more than {allowance:g} of growth")

    return flat_check


def zombies_reaped_within(seconds: float) -> Checker:
    """No orphan that ended stays a zombie for longer."""

    def zombies_reaped_within_check(history: Sequence[Operation]) -> Result:
        orphans = observed(history, "orphan")
        if not orphans:
            return vacuous("there was no orphan")
        if not all(orphan.value["adopted"] for orphan in orphans):
            return vacuous("an orphan was not adopted by the supervisor")
        for orphan in orphans:
            if orphan.value["zombie_s"] > seconds:
                return false(
                    f"orphan {orphan.value['pid']} was a zombie for {orphan.value['zombie_s']:.2f} s"
                )
        longest = max(orphan.value["zombie_s"] for orphan in orphans)
        return true(f"{len(orphans)} orphans reaped within {longest:.3f} s")

    return zombies_reaped_within_check
