"""The same seed gives the same schedule; failing schedules shrink."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scenarios.schedule import Schedule, plan, rng
from scenarios.shrink import earliest, shrink

NAMES = st.lists(st.sampled_from(["kill", "stop", "segv", "disk-full", "emfile"]), min_size=1, unique=True)


@given(seed=st.integers(0, 2**63), names=NAMES, count=st.integers(1, 30))
def test_the_same_seed_gives_the_same_schedule(seed: int, names: list[str], count: int) -> None:
    """A schedule is a function of its arguments and of nothing else."""
    assert plan(seed, names, count=count) == plan(seed, names, count=count)


@given(seed=st.integers(0, 2**63), names=NAMES, count=st.integers(1, 30))
def test_faults_do_not_overlap(seed: int, names: list[str], count: int) -> None:
    """Each fault is healed before the next begins, and each is offered before one comes twice."""
    steps = plan(seed, names, count=count, hold=2.0, gap=0.5)
    assert len(steps) == count
    for before, after in pairwise(steps):
        assert after.at >= before.at + before.hold - 1e-5
    assert {step.fault for step in steps[: len(names)]} == set(
        names[:count] if count < len(names) else names
    ) or (count < len(names) and len({step.fault for step in steps}) == count)


@given(seed=st.integers(0, 2**63))
def test_another_seed_gives_another_schedule(seed: int) -> None:
    """Seeds matter."""
    assert plan(seed, ["kill", "stop"], count=10) != plan(seed + 1, ["kill", "stop"], count=10)


@given(seed=st.integers(0, 2**63))
def test_purposes_are_independent(seed: int) -> None:
    """Randomness for one purpose does not depend on how much another one drew."""
    first = rng(seed, "workload")
    first.random()
    assert rng(seed, "nemesis").random() == rng(seed, "nemesis").random()
    assert rng(seed, "workload").random() != rng(seed, "nemesis").random()


def test_nothing_offered_is_no_schedule() -> None:
    """Without faults there is nothing to plan."""
    assert plan(1, [], count=5) == ()
    assert plan(1, ["kill"], count=0) == ()


@given(seed=st.integers(0, 10_000), culprits=st.sets(st.integers(0, 11), min_size=1, max_size=3))
def test_shrinking_keeps_what_matters(seed: int, culprits: set[int]) -> None:
    """What is left fails, and is no more than the steps that make it fail."""
    steps = plan(seed, ["kill", "stop"], count=12)
    needed = {steps[index].pick for index in culprits}

    async def fails(candidate: Schedule) -> bool:
        return needed <= {step.pick for step in candidate}

    small = asyncio.run(shrink(steps, fails, budget=500))
    assert {step.pick for step in small} == needed


def test_a_workload_that_fails_by_itself_shrinks_to_nothing() -> None:
    """When it fails without any fault, the nemesis is not to blame."""

    async def fails(candidate: Schedule) -> bool:
        return True

    assert asyncio.run(shrink(plan(3, ["kill"], count=5), fails)) == ()


def test_shrinking_has_a_budget() -> None:
    """No more runs than allowed."""
    runs = 0

    async def fails(candidate: Schedule) -> bool:
        nonlocal runs
        runs += 1
        return False

    steps = plan(3, ["kill"], count=20)
    assert asyncio.run(shrink(steps, fails, budget=7)) == steps
    assert runs <= 8


@given(seed=st.integers(0, 10_000), keep=st.sets(st.integers(0, 9), min_size=1))
def test_waits_are_dropped_but_never_added(seed: int, keep: set[int]) -> None:
    """A shrunken schedule runs sooner, in the same order, without overlap."""
    steps = tuple(step for index, step in enumerate(plan(seed, ["kill"], count=10)) if index in keep)
    moved = earliest(steps)
    assert [step.pick for step in moved] == [step.pick for step in steps]
    assert all(after.at <= before.at + 1e-6 for before, after in zip(steps, moved, strict=True))
    assert all(b.at >= a.at + min(a.hold, b.at - a.at) for a, b in pairwise(moved))
