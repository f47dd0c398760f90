"""The catalog is complete and says of each entry what it is about."""

from __future__ import annotations

import dataclasses
import re

import pytest

from scenarios.__main__ import chosen
from scenarios.catalog import ids, load
from scenarios.platforms import LEVELS
from scenarios.scenario import Scenario

WANTED = (*range(1, 9), *range(11, 18), 18, 21, 22, 24, 30, 38, 39, 41, *range(61, 65))


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


def test_each_runs_where_there_is_a_platform() -> None:
    """Every adapter of a scenario is one that scenarios know, named once."""
    for scenario in load():
        assert set(scenario.adapters) <= set(LEVELS), scenario.id
        assert scenario.adapters
        assert len(set(scenario.adapters)) == len(scenario.adapters)


def test_adapters_choose_what_runs_where() -> None:
    """A scenario runs on all its platforms, or on those that are named; none of them is an error that says where it runs."""
    toy = running_on(("native", "docker"))
    assert [name for _, name in chosen([toy], list(LEVELS))] == ["native", "docker"]
    assert [name for _, name in chosen([toy], ["docker"])] == ["docker"]
    with pytest.raises(KeyError, match="native, docker"):
        chosen([toy], ["podman"])


def running_on(adapters: tuple[str, ...]) -> Scenario:
    """The first scenario, said to run on *adapters*."""
    return dataclasses.replace(load()[0], adapters=adapters)


def test_an_unknown_id_is_refused() -> None:
    """The error names what there is."""
    with pytest.raises(KeyError, match="S001"):
        load(["S999"])
