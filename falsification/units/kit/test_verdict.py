"""Verdicts and levels are ordered scales."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falsification.kit.verdict import Level, Verdict


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_the_worst_wins(verdicts: list[Verdict]) -> None:
    """The worst of several is among them, and none is worse."""
    worst = Verdict.worst(verdicts)
    assert worst in verdicts
    assert all(each.badness <= worst.badness for each in verdicts)


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_only_survivors_make_a_survivor(verdicts: list[Verdict]) -> None:
    """Several survive together only if each did."""
    assert (Verdict.worst(verdicts) is Verdict.SURVIVED) == all(each is Verdict.SURVIVED for each in verdicts)


def test_nothing_is_no_survivor() -> None:
    """No verdict at all is an error, not a pass."""
    with pytest.raises(ValueError, match="no verdicts"):
        Verdict.worst([])


@given(st.sampled_from(Level), st.sampled_from(Level))
def test_levels_are_ordered(one: Level, other: Level) -> None:
    """Of two levels at least one meets the other, and both do only when they are the same."""
    assert one.meets(other) or other.meets(one)
    assert (one.meets(other) and other.meets(one)) == (one is other)


def test_levels_stand_as_designed() -> None:
    """Logic is weakest, native strongest."""
    assert [level.value for level in sorted(Level, key=lambda level: level.strength)] == [
        "logic",
        "emulated",
        "process",
        "container",
        "machine",
        "native",
    ]
