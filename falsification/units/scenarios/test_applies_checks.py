"""The checkers about applied files: true on good histories, false on bad ones, vacuous where nothing was tried."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from falsification.units.scenarios.test_checks import Entry, history, op, seen
from scenarios.checks import Checker, Verdict, applies, check
from scenarios.history import Kind

OVERLAP = [
    ("one", Kind.INVOKE, "apply", {"file": "left"}, 0.0),
    ("two", Kind.INVOKE, "apply", {"file": "right"}, 0.1),
    ("one", Kind.OK, "apply", {"file": "left", "code": 0}, 0.5),
    ("two", Kind.INFO, "apply", {"file": "right", "code": 1}, 0.6),
]
ALONE = op("apply", {"file": "left", "code": 0})
REFUSED: list[Entry] = [
    ("c", Kind.INVOKE, "apply", {"file": "broken"}, 0.0),
    ("c", Kind.FAIL, "apply", {"file": "broken", "code": 1, "error": "ConfigError"}, 0.1),
]


def fleet(wanted: str | None = None, **generations: str) -> Entry:
    """A look at the fleet at rest."""
    return seen("fleet", generations=generations, wanted=wanted)


def life(**more: int) -> Entry:
    """An instance of d."""
    return seen("life", name="d", pid=5, **more)


WHOLE = applies.whole_files(1)
ONE = applies.one_instance("d")
KEPT = applies.refused_changes_nothing("broken")
SAME = seen("around", file="broken", before={"d": 5}, after={"d": 5})
CASES: dict[str, tuple[Checker, Sequence[Entry], Verdict, bool]] = {
    "one file": (WHOLE, [*OVERLAP, fleet(a="left", b="left")], Verdict.TRUE, False),
    "the file that was applied": (WHOLE, [*OVERLAP, fleet("left", a="left")], Verdict.TRUE, False),
    "a mixture": (WHOLE, [*OVERLAP, fleet(a="left", b="right")], Verdict.FALSE, False),
    "another file": (WHOLE, [*OVERLAP, fleet("left", a="right")], Verdict.FALSE, False),
    "no overlap": (WHOLE, [*ALONE, fleet(a="left")], Verdict.UNKNOWN, True),
    "nobody looked": (WHOLE, OVERLAP, Verdict.UNKNOWN, True),
    "one instance": (ONE, [life()], Verdict.TRUE, False),
    "a second instance": (ONE, [life(), life(clash=5)], Verdict.FALSE, False),
    "it never ran": (ONE, OVERLAP, Verdict.UNKNOWN, True),
    "refused": (KEPT, [*REFUSED, SAME], Verdict.TRUE, False),
    "applied all the same": (KEPT, [*op("apply", {"file": "broken", "code": 0}), SAME], Verdict.FALSE, False),
    "it changed something": (
        KEPT,
        [*REFUSED, seen("around", file="broken", before={"d": 5}, after={"d": 6})],
        Verdict.FALSE,
        False,
    ),
    "no answer": (KEPT, [REFUSED[0], SAME], Verdict.UNKNOWN, False),
    "never tried": (KEPT, OVERLAP, Verdict.UNKNOWN, True),
}


@pytest.mark.parametrize("case", CASES)
def test_checker(case: str) -> None:
    """Each says what its history shows."""
    checker, entries, verdict, vacuous = CASES[case]
    result = check(checker, history(*entries))
    assert (result.verdict, result.vacuous) == (verdict, vacuous), result.why
