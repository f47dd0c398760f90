"""The checkers of scenarios that run on every platform turn false on bad histories, true on good ones, and are
vacuous where the situation never came about.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from falsification.units.scenarios.test_checks import Entry, event, generation, history, op, stop
from scenarios.checks import Checker, Verdict, check, identity, stops
from scenarios.history import Kind

RESTART = op("restart", {"name": "d"}, at=0.5, took=2.0)
STOP = ("c", Kind.INVOKE, "stop", {"name": "d"}, 1.0)

GOOD: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "still ending": (
        identity.still_ending("d", 0.4, 1),
        [*RESTART, generation(1, 0, 1), generation(2, 1.5, None)],
    ),
    "between lives": (
        stops.between_lives("d", 1),
        [event("failed", "Failed"), event("restarting", "Failed"), STOP],
    ),
}
VACUOUS: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "it had ended": (identity.still_ending("d", 0.4, 1), [generation(1, 0, 0.4), *RESTART]),
    "it ended at once": (identity.still_ending("d", 0.4, 1), [*RESTART, generation(1, 0, 0.6)]),
    "not often enough": (identity.still_ending("d", 0.4, 2), [*RESTART, generation(1, 0, 1)]),
    "the restart of another": (
        identity.still_ending("d", 0.4, 1),
        [*op("restart", {"name": "e"}, at=0.5), generation(1, 0, 1)],
    ),
    "stopped while it ran": (stops.between_lives("d", 1), [event("running", "Running"), *stop()]),
    "stopped once": (stops.between_lives("d", 2), [event("restarting", "Failed"), STOP]),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_history_is_true(case: str) -> None:
    """Each checker accepts what it is about."""
    checker, entries = GOOD[case]
    result = check(checker, history(*entries))
    assert result.verdict is Verdict.TRUE, result.why


@pytest.mark.parametrize("case", VACUOUS)
def test_a_situation_that_never_came_about_is_vacuous(case: str) -> None:
    """Without the situation there is no pass."""
    checker, entries = VACUOUS[case]
    result = check(checker, history(*entries))
    assert result.verdict is Verdict.UNKNOWN
    assert result.vacuous, result.why
