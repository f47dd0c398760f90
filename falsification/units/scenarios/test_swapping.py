"""The checkers and the picture of DT-007, on hand-written histories."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest

from falsification.units.scenarios.test_checks import Entry, history, seen
from scenarios.checks import Checker, Verdict, check, swapping
from scenarios.pictures import swap

STALL = 15.0


def begin(half: str, *, locked: bool, seed: int = 7) -> Entry:
    """The first word."""
    return seen("swap-begin", half=half, locked=locked, load=300, swap=192, seed=seed, free=150, swapped=0)


def look(half: str, t: float, done: int, *, idle: float = 0.0, swapped: int = 90, free: int = 9) -> Entry:
    """A look."""
    return seen("swap-look", half=half, t=t, done=done, idle=idle, swapped=swapped, free=free)


def stuck(state: str = "D", frame: str = "do_swap_page+0x1/0x2") -> Entry:
    """The stacks."""
    task = {"tid": 9, "name": "python3", "state": state, "stack": ["folio_lock+0x1/0x2", frame]}
    return seen("swap-stuck", half="one", done=100, server=[task], load=[{**task, "tid": 11}])


def end(half: str, **more: Any) -> Entry:
    """The last word."""
    return seen("swap-end", half=half, **{"t": 9.0, "done": 600, "wrong": 0, **more})


DEAD, WHOLE, SAME = (
    swapping.deadlocks("one", STALL),
    swapping.completes("two", 64),
    swapping.same_load("one", "two"),
)
IDLE = [look("one", 1.0, 100), look("one", 17.0, 100, idle=16.0)]
CASES: dict[str, tuple[Checker, Sequence[Entry], Verdict, bool]] = {
    "a deadlock": (DEAD, [*IDLE, stuck()], Verdict.TRUE, False),
    "the server runs": (DEAD, [*IDLE, stuck("R")], Verdict.FALSE, False),
    "the server waits for something else": (
        DEAD,
        [*IDLE, stuck(frame="pipe_read+0x1")],
        Verdict.FALSE,
        False,
    ),
    "it went on": (DEAD, [look("one", 1.0, 100)], Verdict.FALSE, False),
    "not for long": (DEAD, [look("one", 9.0, 100, idle=3.0), stuck()], Verdict.FALSE, False),
    "silent": (DEAD, [*IDLE, seen("swap-silent", half="one", seconds=30.0)], Verdict.UNKNOWN, False),
    "memory was enough": (DEAD, [look("one", 1.0, 100, swapped=0, free=300)], Verdict.UNKNOWN, True),
    "complete": (WHOLE, [look("two", 5.0, 500), end("two")], Verdict.TRUE, False),
    "read back as something else": (
        WHOLE,
        [look("two", 5.0, 500), end("two", wrong=1)],
        Verdict.FALSE,
        False,
    ),
    "stuck too": (WHOLE, [look("two", 5.0, 500), end("two", stuck=True)], Verdict.FALSE, False),
    "never swapped": (WHOLE, [look("two", 5.0, 500, swapped=3), end("two")], Verdict.UNKNOWN, True),
    "never ended": (WHOLE, [look("two", 5.0, 500)], Verdict.UNKNOWN, True),
    "the same": (SAME, [begin("one", locked=False), begin("two", locked=True)], Verdict.TRUE, False),
    "another seed": (
        SAME,
        [begin("one", locked=False), begin("two", locked=True, seed=8)],
        Verdict.FALSE,
        False,
    ),
    "both locked": (SAME, [begin("one", locked=True), begin("two", locked=True)], Verdict.FALSE, False),
    "one began": (SAME, [begin("one", locked=False)], Verdict.UNKNOWN, True),
}


@pytest.mark.parametrize("case", CASES)
def test_checker(case: str) -> None:
    """Each says what its history shows."""
    checker, entries, verdict, vacuous = CASES[case]
    result = check(checker, history(*entries))
    assert (result.verdict, result.vacuous) == (verdict, vacuous), result.why


def rename(entries: Sequence[Entry], half: str) -> list[Entry]:
    """Of the halves that the scenario has."""
    return [(by, kind, f, {**value, "half": half}, at) for by, kind, f, value, at in entries]


def test_the_picture() -> None:
    """Both halves, the deadlock marked with what the daemon waits in; well-formed, and the kernel's words beside it."""
    entries = rename([*IDLE, stuck()], "unlocked") + rename([look("two", 5.0, 500), end("two")], "locked")
    entries.append(seen("swap-kernel", half="unlocked", line="[1.000] task <python3>"))
    files = swap.draw(history(*entries))
    assert set(files) == {"swap.svg", "stacks.txt", "kernel.log"}
    ET.fromstring(files["swap.svg"])  # noqa: S314  (our own text)
    assert "no progress for 16 s" in files["swap.svg"]
    assert "thread 9 of the daemon waits in do_swap_page" in files["swap.svg"]
    assert "do_swap_page+0x1/0x2" in files["stacks.txt"]
    assert files["kernel.log"] == "[1.000] task <python3>\n"


def test_nothing_to_draw() -> None:
    """No picture of nothing; one half alone is drawn beside an empty one."""
    assert swap.draw(history(seen("event"))) == {}
    assert "not run" in swap.draw(history(*rename([look("two", 5.0, 500)], "locked")))["swap.svg"]
