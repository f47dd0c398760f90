"""The catalog is complete and says of each entry what it is about."""

from __future__ import annotations

import re

import pytest

from scenarios.catalog import ids, load

WANTED = (*range(1, 9), *range(11, 18), 21, 22, 24, 30, 38, 39)


def test_every_scenario_of_this_stage_is_there() -> None:
    """No entry is missing, and each is found by its id."""
    assert {f"S{number:03d}" for number in WANTED} <= set(ids())
    assert [scenario.id for scenario in load()] == ids()


def test_each_says_what_it_is_about() -> None:
    """Title, invariant, source and at least one checker; workloads are made anew for each run."""
    for scenario in load():
        assert scenario.title
        assert scenario.invariant
        assert re.search(r"\w#\d+", scenario.seen_in), scenario.id
        assert scenario.checks
        assert scenario.workload() is not scenario.workload()


def test_an_unknown_id_is_refused() -> None:
    """The error names what there is."""
    with pytest.raises(KeyError, match="S001"):
        load(["S999"])
