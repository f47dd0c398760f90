"""The checkers of scenarios that run on every platform turn false on bad histories, true on good ones, and are
vacuous where the situation never came about.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from falsification.units.scenarios.test_checks import Entry, event, generation, history, op, seen, stop
from scenarios.checks import Checker, Verdict, check, identity, service, stops
from scenarios.history import Kind

STOPPING = event("stopping", "Stopping", 0.5)
STOP = ("c", Kind.INVOKE, "stop", {"name": "d"}, 1.0)


def put(value: str, at: float, took: float = 0.1, kind: Kind = Kind.OK) -> list[Entry]:
    """A client's write."""
    said = {"value": value}
    return [("a", Kind.INVOKE, "put", said, at), ("a", kind, "put", said, at + took)]


def read(at: float, *values: str) -> list[Entry]:
    """A client's read."""
    return op("read", {}, at=at, by="b", end={"values": list(values)})


def fault(f: str, at: float, name: str = "stop", *, effect: bool = True) -> list[Entry]:
    """The nemesis injects or heals."""
    said = {"fault": name}
    kind = Kind.OK if effect else Kind.FAIL
    return [("nemesis", Kind.INVOKE, f, said, at - 0.1), ("nemesis", kind, f, said, at)]


def life(born: int, *, clash: bool = False) -> Entry:
    """A life of d, told by itself."""
    return seen("life", float(born), name="d", boot="b", space="s", born=born, begin=born, clash=clash)


def instances(*pids: int) -> Entry:
    """A look from outside."""
    return seen("instances", name="d", pids=list(pids))


def disk(at: float, *values: str) -> Entry:
    """A look at the disk."""
    return seen("kept", at, values=list(values))


KEPT = service.no_acknowledged_write_lost(2)
TWO = [*put("x", 1.0), *put("y", 2.0)]
UNKNOWN = put("z", 1.5, kind=Kind.INFO)
AGAIN = service.available_again_within(1.0, at_once=("kill",))
ONE = identity.never_two_at_once("d", 2)
ENDED = event("exited", "Running", 1.0, detail="killed by SIGKILL")

GOOD: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "still ending": (
        identity.still_ending("d", 0.4, 1),
        [STOPPING, generation(1, 0, 1), generation(2, 1.5, None)],
    ),
    "between lives": (
        stops.between_lives("d", 1),
        [event("failed", "Failed"), event("restarting", "Failed"), STOP],
    ),
    "nothing lost": (KEPT, [*TWO, *read(2.5, "x", "y"), disk(3.0, "x", "y")]),
    "an unanswered write is there": (KEPT, [*TWO, *UNKNOWN, disk(3.0, "x", "z", "y")]),
    "an unanswered write is not there": (KEPT, [*TWO, *UNKNOWN, disk(3.0, "x", "y")]),
    "a read before the write was over": (KEPT, [*TWO, *read(1.05), disk(3.0, "x", "y")]),
    "available after healing": (AGAIN, [*fault("inject", 1.0), *fault("heal", 5.0), *put("x", 5.2)]),
    "available after the kill": (AGAIN, [*fault("inject", 1.0, "kill"), *put("x", 1.8)]),
    "the next fault came before it was back": (
        AGAIN,
        [*fault("heal", 1.0), *fault("heal", 1.5), *put("x", 2.1)],
    ),
    "one at a time": (ONE, [life(1), instances(5), instances(), life(2), instances(6)]),
    "ended by the fault": (service.ends_only_by("d", "killed by SIGKILL"), [ENDED]),
}
BAD: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "lost on disk": (KEPT, [*TWO, disk(3.0, "y")]),
    "lost in a read, and there again": (KEPT, [*TWO, *read(2.5, "y"), disk(3.0, "x", "y")]),
    "nobody wrote it": (KEPT, [*TWO, disk(3.0, "x", "y", "q")]),
    "written twice": (KEPT, [*TWO, disk(3.0, "x", "y", "x")]),
    "back too late": (AGAIN, [*fault("heal", 1.0), *put("x", 2.5)]),
    "an answer too late": (AGAIN, [*fault("heal", 1.0), *put("x", 1.5, took=0.9)]),
    "back too late after the kill": (
        AGAIN,
        [*fault("inject", 1.0, "kill"), *fault("heal", 2.4, "kill"), *put("x", 2.5)],
    ),
    "never back": (
        AGAIN,
        [*fault("heal", 1.0), *put("x", 1.5, kind=Kind.FAIL), *put("y", 3.0, kind=Kind.INFO)],
    ),
    "late after the first of two": (
        AGAIN,
        [*fault("heal", 1.0), *put("x", 2.5), *fault("heal", 4.0), *put("y", 4.1)],
    ),
    "two at once": (ONE, [life(1), instances(5), instances(5, 6), life(2), instances(6)]),
    "met another": (ONE, [life(1), instances(5), life(2, clash=True), instances(5)]),
    "ended by itself": (
        service.ends_only_by("d", "killed by SIGKILL"),
        [ENDED, event("exited", "Running", 2.0, detail="killed by SIGPIPE")],
    ),
}
VACUOUS: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "it had ended": (identity.still_ending("d", 0.4, 1), [generation(1, 0, 0.4), STOPPING]),
    "it ended at once": (identity.still_ending("d", 0.4, 1), [STOPPING, generation(1, 0, 0.6)]),
    "not often enough": (identity.still_ending("d", 0.4, 2), [STOPPING, generation(1, 0, 1)]),
    "the end of another": (
        identity.still_ending("d", 0.4, 1),
        [event("stopping", "Stopping", 0.5, name="e"), generation(1, 0, 1)],
    ),
    "stopped while it ran": (stops.between_lives("d", 1), [event("running", "Running"), *stop()]),
    "too few writes": (KEPT, [*put("x", 1.0), disk(3.0, "x")]),
    "nobody looked at the disk": (KEPT, [*TWO, *read(2.5, "x", "y")]),
    "nobody looked at the disk afterwards": (KEPT, [*put("x", 1.0), disk(1.5, "x"), *put("y", 2.0)]),
    "no fault": (AGAIN, put("x", 1.0)),
    "no fault with an effect": (AGAIN, [*fault("inject", 1.0, "kill", effect=False), *put("x", 1.1)]),
    "one life": (ONE, [life(1), instances(5), instances(5)]),
    "one life, told twice": (ONE, [life(1), life(1), instances(5), instances(5)]),
    "hardly looked": (ONE, [life(1), instances(5), instances(), life(2)]),
    "lived on": (service.ends_only_by("d", "killed by SIGKILL"), [event("running", "Running")]),
    "stopped once": (stops.between_lives("d", 2), [event("restarting", "Failed"), STOP]),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_history_is_true(case: str) -> None:
    """Each checker accepts what it is about."""
    checker, entries = GOOD[case]
    result = check(checker, history(*entries))
    assert result.verdict is Verdict.TRUE, result.why


@pytest.mark.parametrize("case", BAD)
def test_bad_history_is_false(case: str) -> None:
    """Each checker can fail."""
    checker, entries = BAD[case]
    result = check(checker, history(*entries))
    assert result.verdict is Verdict.FALSE, result.why


def test_clients_that_went_too_early_leave_it_open() -> None:
    """Where nobody asked until the time was over, nobody knows whether it was back."""
    result = check(AGAIN, history(*fault("heal", 1.0), *put("x", 1.5, kind=Kind.FAIL)))
    assert (result.verdict, result.vacuous) == (Verdict.UNKNOWN, False)


@pytest.mark.parametrize("case", VACUOUS)
def test_a_situation_that_never_came_about_is_vacuous(case: str) -> None:
    """Without the situation there is no pass."""
    checker, entries = VACUOUS[case]
    result = check(checker, history(*entries))
    assert result.verdict is Verdict.UNKNOWN
    assert result.vacuous, result.why
