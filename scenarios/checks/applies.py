"""Applying files: each of them whole or not at all, and never two instances of a daemon."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scenarios.checks.core import Checker, Result, false, true, unknown, vacuous
from scenarios.history import Kind, Operation, observed, pairs


def whole_files(least: int) -> Checker:
    """Whenever the fleet was at rest all its daemons were of one file: that of the last apply that was alone and succeeded, if any.

    At least *least* times two applies must have overlapped.
    """

    def whole_files_check(history: Sequence[Operation]) -> Result:
        looks = observed(history, "fleet")
        overlaps = _overlaps(history)
        for look in looks:
            found = set(look.value["generations"].values())
            if len(found) != 1:
                return false(f"a mixture of files: {look.value['generations']}")
            wanted = look.value.get("wanted")
            if wanted is not None and found != {wanted}:
                return false(f"{wanted} was applied, and the fleet is of {found.pop()}")
        if not looks or overlaps < least:
            return vacuous(f"{overlaps} applies overlapped, {len(looks)} looks at the fleet")
        return true(
            f"{len(looks)} times at rest the fleet was of one file, after {overlaps} applies that overlapped"
        )

    return whole_files_check


def _overlaps(history: Sequence[Operation]) -> int:
    spans = [
        (begun.time, end.time) for begun, end in pairs(history) if begun.f == "apply" and end is not None
    ]
    spans.sort()
    return sum(after[0] < before[1] for before, after in pairwise(spans))


def one_instance(*names: str) -> Checker:
    """No instance of any of *names* ever found another one holding its lock."""

    def one_instance_check(history: Sequence[Operation]) -> Result:
        runs = 0
        for name in names:
            lives = observed(history, "life", name=name)
            if not lives:
                return vacuous(f"{name} never ran")
            for life in lives:
                if life.value.get("clash"):
                    return false(f"{name}: pid {life.value['pid']} began while another instance lived")
            runs += len(lives)
        return true(f"{runs} instances of {len(names)} daemons, never two of one at once")

    return one_instance_check


def refused_changes_nothing(file: str) -> Checker:
    """Each apply of *file* is refused with an exit code other than 0, and the same processes run before and after."""

    def refused_changes_nothing_check(history: Sequence[Operation]) -> Result:
        ends = [
            end for begun, end in pairs(history) if begun.f == "apply" and begun.value.get("file") == file
        ]
        for end in ends:
            if end is None or end.kind is Kind.INFO:
                return unknown(
                    f"nobody knows what became of {file}: {end.value if end else 'it never ended'}"
                )
            if end.kind is Kind.OK or not end.value["code"]:
                return false(f"{file} was applied: {end.value}")
        looks = observed(history, "around", file=file)
        for look in looks:
            if look.value["before"] != look.value["after"]:
                return false(f"{file} changed {look.value['before']} to {look.value['after']}")
        if not ends or not looks:
            return vacuous(f"{file} was never tried")
        return true(f"{file} was refused {len(ends)} times and changed nothing")

    return refused_changes_nothing_check
