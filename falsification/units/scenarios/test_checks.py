"""Every checker turns false on a bad history, true on a good one, and unknown where nothing was tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from scenarios.checks import (
    Checker,
    Verdict,
    answers,
    check,
    faults,
    identity,
    latency,
    output,
    resources,
    restarts,
    states,
    stops,
    worst,
)
from scenarios.checks.core import Result, everything
from scenarios.history import Kind, Operation

Entry = tuple[str, Kind, str, Any, float]


def history(*entries: Entry) -> list[Operation]:
    """Hand-written: (process, kind, f, value, time); a completion belongs to its process's last invoke."""
    found: list[Operation] = []
    begun: dict[str, int] = {}
    for index, (process, kind, f, value, time) in enumerate(entries):
        of = None
        if kind is Kind.INVOKE:
            begun[process] = index
        elif process in begun:
            of = begun.pop(process)
        found.append(Operation(index=index, process=process, kind=kind, f=f, value=value, time=time, of=of))
    return found


def op(
    f: str, value: Any, *, took: float = 0.1, at: float = 0.0, by: str = "c", end: Any = None
) -> list[Entry]:
    """An operation that is ok."""
    return [(by, Kind.INVOKE, f, value, at), (by, Kind.OK, f, value if end is None else end, at + took)]


def seen(f: str, at: float = 0.0, **value: Any) -> Entry:
    """An observation."""
    return ("manager" if f == "event" else "observer", Kind.INFO, f, value, at)


def event(kind: str, status: str, at: float = 0.0, name: str = "d", **more: Any) -> Entry:
    """An event of the manager."""
    return seen("event", at, name=name, kind=kind, status=status, **{"pid": 5, "detail": "", **more})


def stop(at: float = 0.0, took: float = 0.1, **certificate: Any) -> list[Entry]:
    """A stop of d that is ok."""
    end = {"name": "d", "proven": True, "escalated": False, "stragglers": [], **certificate}
    return op("stop", {"name": "d"}, at=at, took=took, end=end)


def view(**fields: Any) -> list[Entry]:
    """An answer to status."""
    told = {"name": "d", "status": "Running", "pid": 5, "restarts": 0, "reason": None, **fields}
    return op("status", {"name": "d"}, end=told)


INJECT = op("inject", {"fault": "kill"}, by="nemesis", end={"fault": "kill", "proof": "dead"})
NO_EFFECT: list[Entry] = [
    ("nemesis", Kind.INVOKE, "inject", {"fault": "kill"}, 0.0),
    ("nemesis", Kind.FAIL, "inject", {"fault": "kill", "why": "nobody there"}, 0.1),
]
NOT_HEALED: list[Entry] = [
    *INJECT,
    ("nemesis", Kind.INVOKE, "heal", {"fault": "kill"}, 0.2),
    ("nemesis", Kind.FAIL, "heal", {"fault": "kill", "why": "x"}, 0.3),
]
NOT_RECOVERED: list[Entry] = [
    ("engine", Kind.INVOKE, "recover", None, 0.0),
    ("engine", Kind.FAIL, "recover", {"why": "d is Failed"}, 9.0),
]
REFUSED: list[Entry] = [
    ("c", Kind.INVOKE, "stop", {"name": "d"}, 0.0),
    ("c", Kind.FAIL, "stop", {"name": "d", "error": "KeyError"}, 0.1),
]


def fail_stop(message: str) -> Entry:
    """A stop that is refused with a reason."""
    return ("c", Kind.FAIL, "stop", {"name": "d", "error": "StateError", "message": message}, 0.1)


STARTS = [event("starting", "Starting", n / 10) for n in range(3)]
TREE = seen("tree", name="d", child=77)


def crashes(*, late: float = 0.0) -> list[Entry]:
    """Four failures and restarts after 0.1, 0.2, 0.4 seconds, each *late* too much."""
    found, at = [event("starting", "Starting", 0.0)], 0.01
    for pause in (0.1, 0.2, 0.4):
        found += [event("failed", "Failed", at), event("starting", "Starting", at + pause + late)]
        at += pause + late + 0.01
    return found


def generation(pid: int, began: float, ended: float | None) -> Entry:
    """One life of d."""
    return seen("generation", name="d", pid=pid, began=began, ended=ended)


def stranger(**facts: Any) -> Entry:
    """A look at the stranger."""
    return seen("stranger", **{"signals": [], "alive": True, "adopted": False, **facts})


RECYCLED = seen("recycled", old=9, new=9)
BACKOFF = restarts.follows_backoff("d", initial=0.1, multiplier=2, cap=10)

GOOD: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "took_effect": (faults.took_effect("kill"), INJECT),
    "recovered": (faults.recovered(), op("recover", None, by="engine", end={})),
    "one of seven": (states.always_one_of_seven(), view()),
    "legal": (states.transitions_legal(), [event("starting", "Starting"), event("running", "Running")]),
    "never a ghost": (states.never_running_without_a_process(), view()),
    "ends as": (states.ends_as("d", "Failed", "gave up"), view(status="Failed", reason="gave up: 5")),
    "undisturbed": (states.undisturbed("d"), [*view(), *view()]),
    "proven": (stops.stops_proven(), stop()),
    "stops take": (stops.stops_take(0.5, 1.0), stop(took=0.7)),
    "names": (stops.certificates_name("child"), [TREE, *stop(escalated=True, stragglers=["77 python"])]),
    "nothing left": (stops.nothing_left(), [seen("survivors", pids=[])]),
    "stays stopped": (
        stops.stays_stopped(),
        [*stop(), *op("start", {"name": "d"}), event("starting", "Starting")],
    ),
    "gives up": (restarts.gives_up("d", 2), [*STARTS, event("gave-up", "Failed", 1.0)]),
    "backoff": (BACKOFF, crashes()),
    "exit seen": (
        restarts.exit_seen_within(0.5),
        [seen("death", name="d", pid=5, died_at=1.0), event("exited", "Running", 1.1)],
    ),
    "exit recorded": (restarts.exit_recorded("d", 0), [event("exited", "Running", detail="exit code 0")]),
    "restarted": (restarts.restarted_at_least("d", 2), STARTS),
    "answers": (latency.answers_within("status", q=0.99, seconds=0.2, at_least=2), [*view(), *view()]),
    "takes at most": (latency.takes_at_most("stop", 0.5), stop()),
    "expected errors": (latency.only_expected_errors("StateError"), stop()),
    "cpu": (resources.cpu_below(2, 10), [seen("resources", 0, cpu_ms=0), seen("resources", 10, cpu_ms=100)]),
    "flat": (resources.flat("descriptors", 2), [seen("resources", n, descriptors=9) for n in range(6)]),
    "zombies": (resources.zombies_reaped_within(1), [seen("orphan", pid=7, zombie_s=0.01, adopted=True)]),
    "writes": (output.writes_never_block(1), [seen("written", slowest_s=0.01, lines=10)]),
    "accounted": (
        output.every_line_accounted(),
        [seen("audit", missing_bytes=5, reported_bytes=5, removed_bytes=0)],
    ),
    "last line": (output.last_line_captured("bye"), [seen("last-line", line="bye")]),
    "generations": (identity.one_generation_at_a_time("d"), [generation(1, 0, 1), generation(2, 1.5, None)]),
    "stranger": (identity.stranger_untouched(), [RECYCLED, stranger()]),
    "lives on": (identity.lives_on("d", 2), [seen("alive", name="d", pid=5, alive=True, after=2.1)]),
    "succeeds": (answers.succeeds("start", "d"), op("start", {"name": "d"})),
    "refused": (answers.refused("stop", "d"), [*REFUSED[:1], fail_stop("it is busy")]),
    "interrupted": (answers.interrupted(20), op("terminate", {"present": 5, "total": 20})),
    "command": (
        answers.command_tells(d=("Starting", 5)),
        [seen("command", name="d", status="Starting", code=5)],
    ),
    "never ended": (restarts.never_ended("d", before="stop"), [event("running", "Running"), *stop()]),
    "keeps restarting": (restarts.keeps_restarting("d", 9), [seen("flaps", name="d", restarts=9)]),
}

BAD: dict[str, tuple[Checker, Sequence[Entry]]] = {
    "not recovered": (faults.recovered(), NOT_RECOVERED),
    "an eighth state": (states.always_one_of_seven(), view(status="Unknown")),
    "from nothing to Running": (states.transitions_legal(), [event("running", "Running")]),
    "an event with an eighth state": (states.transitions_legal(), [event("odd", "Odd")]),
    "running as pid 0": (states.never_running_without_a_process(), view(pid=0)),
    "ends otherwise": (states.ends_as("d", "Failed", "gave up"), view(status="Failed", reason="exit code 1")),
    "another process": (states.undisturbed("d"), [*view(), *view(pid=6)]),
    "restarted": (states.undisturbed("d"), view(restarts=1)),
    "no proof": (stops.stops_proven(), stop(proven=False)),
    "a failed stop": (stops.stops_proven(), REFUSED),
    "too quick a stop": (stops.stops_take(0.5, 1.0), stop(took=0.1)),
    "too slow a stop": (stops.stops_take(0.5, 1.0), stop(took=3.0)),
    "another straggler": (
        stops.certificates_name("child"),
        [TREE, *stop(escalated=True, stragglers=["78 x"])],
    ),
    "KILL not told": (stops.certificates_name("child"), [TREE, *stop(stragglers=["77 python"])]),
    "a survivor": (stops.nothing_left(), [seen("survivors", pids=[]), seen("survivors", pids=[4])]),
    "revived": (stops.stays_stopped(), [*stop(), event("starting", "Starting")]),
    "never gave up": (restarts.gives_up("d", 2), STARTS),
    "gave up too early": (restarts.gives_up("d", 5), [*STARTS, event("gave-up", "Failed", 1.0)]),
    "not the end of it": (
        restarts.gives_up("d", 3),
        [*STARTS, event("gave-up", "Failed", 1.0), event("starting", "Starting", 2.0)],
    ),
    "gave up but runs": (restarts.gives_up("d", 2), [*STARTS, event("gave-up", "Running", 1.0)]),
    "too late": (BACKOFF, crashes(late=0.9)),
    "too early": (BACKOFF, crashes(late=-0.05)),
    "death not reported": (restarts.exit_seen_within(0.5), [seen("death", name="d", pid=5, died_at=1.0)]),
    "death reported late": (
        restarts.exit_seen_within(0.5),
        [seen("death", name="d", pid=5, died_at=1.0), event("exited", "Running", 2.0)],
    ),
    "255 for a clean exit": (
        restarts.exit_recorded("d", 0),
        [event("exited", "Running", detail="exit code 255")],
    ),
    "restarted after 0": (
        restarts.exit_recorded("d", 0),
        [event("exited", "Running", detail="exit code 0"), event("starting", "Starting")],
    ),
    "slow answers": (
        latency.answers_within("status", q=0.5, seconds=0.2, at_least=1),
        op("status", {"name": "d"}, took=0.3),
    ),
    "no answer": (
        latency.answers_within("status", q=0.99, seconds=0.2, at_least=2),
        [*view(), ("c", Kind.INVOKE, "status", {"name": "d"}, 1.0)],
    ),
    "too long": (latency.takes_at_most("stop", 0.5), stop(took=0.6)),
    "unexpected": (latency.only_expected_errors("StateError"), REFUSED),
    "busy": (resources.cpu_below(2, 10), [seen("resources", 0, cpu_ms=0), seen("resources", 10, cpu_ms=900)]),
    "leak": (resources.flat("descriptors", 2), [seen("resources", n, descriptors=9 + n) for n in range(6)]),
    "zombie": (resources.zombies_reaped_within(1), [seen("orphan", pid=7, zombie_s=3.0, adopted=True)]),
    "blocked": (output.writes_never_block(1), [seen("written", slowest_s=2.5, lines=10)]),
    "lost silently": (
        output.every_line_accounted(),
        [seen("audit", missing_bytes=50, reported_bytes=5, removed_bytes=0)],
    ),
    "last line lost": (output.last_line_captured("bye"), [seen("last-line", line="line 7")]),
    "two at a time": (
        identity.one_generation_at_a_time("d"),
        [generation(1, 0, 2), generation(2, 1.5, None)],
    ),
    "never ended": (
        identity.one_generation_at_a_time("d"),
        [generation(1, 0, None), generation(2, 1.5, None)],
    ),
    "stranger signalled": (identity.stranger_untouched(), [RECYCLED, stranger(signals=["SIGTERM"])]),
    "stranger killed": (identity.stranger_untouched(), [RECYCLED, stranger(alive=False)]),
    "stranger adopted": (identity.stranger_untouched(), [RECYCLED, stranger(adopted=True)]),
    "start failed": (answers.succeeds("stop", "d"), REFUSED),
    "not refused": (answers.refused("stop", "d"), stop()),
    "refused without a word": (answers.refused("stop", "d"), REFUSED),
    "manager did not end": (
        answers.interrupted(20),
        [
            ("o", Kind.INVOKE, "terminate", {"present": 5}, 0.0),
            ("o", Kind.INFO, "terminate", {"code": None}, 9.0),
        ],
    ),
    "same code": (
        answers.command_tells(d=("Starting", 5)),
        [seen("command", name="d", status="Starting", code=0)],
    ),
    "ended by itself": (
        restarts.never_ended("d", before="stop"),
        [event("running", "Running"), event("exited", "Failed", detail="killed by SIGPIPE"), *stop()],
    ),
    "restarting ended": (restarts.keeps_restarting("d", 9), [seen("flaps", name="d", restarts=8)]),
    "died": (identity.lives_on("d", 2), [seen("alive", name="d", pid=5, alive=False, after=0.5)]),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_history_is_true(case: str) -> None:
    """A checker says true of a history in which its invariant holds."""
    checker, entries = GOOD[case]
    assert check(checker, history(*entries)).verdict is Verdict.TRUE, check(checker, history(*entries)).why


@pytest.mark.parametrize("case", BAD)
def test_bad_history_is_false(case: str) -> None:
    """A checker says false of a history in which its invariant is broken."""
    checker, entries = BAD[case]
    assert check(checker, history(*entries)).verdict is Verdict.FALSE, check(checker, history(*entries)).why


@pytest.mark.parametrize("case", GOOD)
def test_empty_history_is_vacuous(case: str) -> None:
    """Nothing that happened is never a pass."""
    result = check(GOOD[case][0], [])
    assert result.verdict is Verdict.UNKNOWN
    assert result.vacuous


@pytest.mark.parametrize("case", GOOD)
def test_irrelevant_history_is_not_true(case: str) -> None:
    """A history in which the situation never came about is no pass either."""
    assert check(GOOD[case][0], history(seen("weather", sunny=True))).verdict is Verdict.UNKNOWN


def test_every_checker_has_a_bad_history() -> None:
    """Each checker that has a good history has a bad one; a fault that had no effect is vacuous by design."""
    names = {checker.__qualname__.split(".")[0] for checker, _ in GOOD.values()}
    shown = {checker.__qualname__.split(".")[0] for checker, _ in BAD.values()}
    assert names - shown == {"took_effect", "restarted_at_least"}


@pytest.mark.parametrize("entries", [NO_EFFECT, view(), INJECT])
def test_without_effect_is_vacuous(entries: Sequence[Entry]) -> None:
    """A fault without effect, or one that was never injected, leaves the run vacuous."""
    result = check(faults.took_effect("stop"), history(*entries))
    assert result.vacuous


def test_unhealed_fault_is_unknown() -> None:
    """A fault that was not healed leaves the rest in doubt."""
    assert check(faults.took_effect("kill"), history(*NOT_HEALED)).verdict is Verdict.UNKNOWN


def test_crashing_checker_is_unknown() -> None:
    """A checker that crashes is unknown, and says where."""

    def crashing(found: Sequence[Operation]) -> Result:
        raise ZeroDivisionError(len(found))

    result = check(crashing, history(seen("x")))
    assert result.verdict is Verdict.UNKNOWN
    assert "ZeroDivisionError" in result.why
    assert not result.vacuous


def test_worst_wins() -> None:
    """False beats unknown beats true; a real doubt beats a situation that never came about."""
    good, entries = GOOD["proven"]
    bad, _ = BAD["no proof"]
    results = everything([good, faults.took_effect("kill")], history(*entries))
    assert worst(results).verdict is Verdict.UNKNOWN
    assert worst(everything([good], history(*entries))).verdict is Verdict.TRUE
    results = everything([good, bad, faults.took_effect("kill")], history(*BAD["no proof"][1]))
    assert worst(results).verdict is Verdict.FALSE
    assert worst([]).verdict is Verdict.UNKNOWN
    assert worst(everything([], history(*entries))).verdict is Verdict.UNKNOWN
