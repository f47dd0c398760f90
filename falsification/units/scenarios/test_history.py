"""Histories are well formed, and survive being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.history import History, HistoryError, Kind, observed, pairs, read


def ticking() -> History:
    """A history whose clock goes on by one second at every look."""
    ticks = iter(range(1000))
    return History(lambda: float(next(ticks)))


def test_an_operation_is_paired_with_its_completion() -> None:
    """Completions of several processes find their own invoke."""
    history = ticking()
    first = history.invoke("a", "start", {"name": "x"})
    second = history.invoke("b", "stop", {"name": "y"})
    history.ok(second, {"proven": True})
    history.fail(first, {"error": "E"})
    found = list(pairs(history.operations))
    assert [(begun.process, end.kind if end else None) for begun, end in found] == [
        ("a", Kind.FAIL),
        ("b", Kind.OK),
    ]
    assert all(end is not None and end.time > begun.time for begun, end in found)


def test_what_has_no_completion_is_paired_with_none() -> None:
    """An operation that never ended is visible as such."""
    history = ticking()
    history.invoke("a", "start")
    assert [end for _, end in pairs(history.operations)] == [None]


def test_one_process_does_one_thing_at_a_time() -> None:
    """A second invoke of a busy process is an error of the scenario."""
    history = ticking()
    history.invoke("a", "start")
    with pytest.raises(HistoryError, match="still open"):
        history.invoke("a", "stop")


def test_an_operation_ends_once() -> None:
    """A second completion is an error of the scenario."""
    history = ticking()
    begun = history.invoke("a", "start")
    history.ok(begun)
    with pytest.raises(HistoryError, match="no open start"):
        history.info(begun)


def test_observations_are_found_by_their_fields() -> None:
    """Only observations count, not operations of the same name."""
    history = ticking()
    history.observe("o", "event", {"name": "x", "kind": "running"})
    history.observe("o", "event", {"name": "y", "kind": "running"})
    history.ok(history.invoke("a", "event"), {"name": "x"})
    assert [operation.index for operation in observed(history.operations, "event", name="x")] == [0]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """JSON lines carry everything."""
    history = ticking()
    history.info(history.invoke("a", "start", {"name": "x"}), {"error": "TimeoutError"})
    history.write(tmp_path / "deep" / "history.jsonl")
    assert read(tmp_path / "deep" / "history.jsonl") == history.operations


def test_something_else_is_no_history(tmp_path: Path) -> None:
    """A file that is no history is an error that names it."""
    (tmp_path / "x").write_text("{}\n")
    with pytest.raises(HistoryError, match="cannot read"):
        read(tmp_path / "x")
