"""The checkers of S037, on hand-written histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from falsification.units.scenarios.test_checks import Entry, history, seen
from scenarios.checks import Checker, Verdict, check, deaths


def death(name: str, why: str = "", blocked: Any = ()) -> Entry:
    """One that was died."""
    return seen("death", name=name, why=why, blocked=list(blocked), told=None)


WELL, FREE = deaths.recovered_or_deleted(("one", "two")), deaths.nobody_hangs(("one", "two"))
BOTH = [death("one"), death("two")]
CASES: dict[str, tuple[Checker, Sequence[Entry], Verdict, bool]] = {
    "both well": (WELL, BOTH, Verdict.TRUE, False),
    "one is lost": (
        WELL,
        [death("one"), death("two", "Traceback\nAssertionError: it stays\n")],
        Verdict.FALSE,
        False,
    ),
    "one was not tried": (WELL, BOTH[:1], Verdict.UNKNOWN, True),
    "nobody hangs": (FREE, BOTH, Verdict.TRUE, False),
    "somebody hangs": (
        FREE,
        [death("one"), death("two", blocked=["7 dd in io_schedule"])],
        Verdict.FALSE,
        False,
    ),
    "nobody looked": (
        FREE,
        [death("one"), seen("death", name="two", why="", blocked=None)],
        Verdict.UNKNOWN,
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_checker(case: str) -> None:
    """Each says what its history shows."""
    checker, entries, verdict, vacuous = CASES[case]
    result = check(checker, history(*entries))
    assert (result.verdict, result.vacuous) == (verdict, vacuous), result.why
