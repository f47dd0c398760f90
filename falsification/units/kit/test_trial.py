"""What a trial offers does what it says."""

from __future__ import annotations

import asyncio

import pytest

from falsification.kit.figure import FigureError
from falsification.kit.outcomes import DeadlineExceeded, Falsified, Unattempted
from falsification.units.kit.conftest import MakeTrial


def test_until_returns_what_it_waited_for(make_trial: MakeTrial) -> None:
    """Plain functions, async functions and awaitables all do."""
    trial = make_trial()
    looks = iter([None, 0, "there"])

    async def ready() -> int:
        return 7

    async def body() -> tuple[object, object, object]:
        plain = await trial.until(lambda: next(looks), within=5, what="the third look", every=0)
        return (
            plain,
            await trial.until(ready, within=5, what="a coroutine function"),
            await trial.until(ready(), within=5, what="a coroutine"),
        )

    assert asyncio.run(body()) == ("there", 7, 7)


@pytest.mark.parametrize(("claimed", "kind"), [(False, DeadlineExceeded), (True, Falsified)])
def test_until_in_vain(make_trial: MakeTrial, claimed: bool, kind: type[Exception]) -> None:
    """In vain breaks the attempt, or falsifies where the claim promised it."""
    with pytest.raises(kind, match=r"not within 0.01 s: the end of the world"):
        asyncio.run(
            make_trial().until(
                lambda: False, within=0.01, what="the end of the world", claimed=claimed, every=0
            )
        )


def test_until_lets_the_condition_fail_by_itself(make_trial: MakeTrial) -> None:
    """A TimeoutError of the condition's own is not mistaken for the deadline."""

    async def refuses() -> bool:
        raise TimeoutError("of its own")

    async def body() -> bool:
        return bool(await make_trial().until(refuses, within=60, what="x"))

    with pytest.raises(TimeoutError, match="of its own"):
        asyncio.run(body())


def test_claimed_turns_errors_into_counterexamples(make_trial: MakeTrial) -> None:
    """What the claim promises to work and raises is falsified; other kinds pass through."""
    trial = make_trial()
    with pytest.raises(Falsified, match="starting works: OSError: no"), trial.claimed("starting works"):
        raise OSError("no")
    with pytest.raises(KeyError), trial.claimed("starting works", OSError):
        raise KeyError
    with pytest.raises(Unattempted), trial.claimed("starting works"):
        raise Unattempted


def test_the_same_seed_is_the_same_randomness(make_trial: MakeTrial) -> None:
    """Two trials of one seed draw the same numbers."""
    one, other = make_trial(), make_trial()
    assert [one.rng.random() for _ in range(5)] == [other.rng.random() for _ in range(5)]


def test_rounds_are_fewer_under_a_saboteur(make_trial: MakeTrial) -> None:
    """The saboteur run takes its own number."""
    assert (make_trial().rounds(1000, 20), make_trial(saboteur="x").rounds(1000, 20)) == (1000, 20)


def test_judge_needs_a_threshold(make_trial: MakeTrial) -> None:
    """A claim that is a fact has nothing to judge by."""
    with pytest.raises(FigureError, match="no threshold"):
        make_trial().judge(1.0)


def test_attachments_have_unique_names(make_trial: MakeTrial) -> None:
    """A second file of one name gets a number."""
    trial = make_trial()
    for _ in range(3):
        trial.attach("daemon.log", "text")
    assert [each.name for each in trial.attachments] == ["daemon.log", "daemon-2.log", "daemon-3.log"]


def test_require_names_what_is_missing(make_trial: MakeTrial) -> None:
    """The reason of an unattempted claim is a sentence."""
    with pytest.raises(Unattempted, match="no-such-thing: no such program"):
        make_trial().require("no-such-thing")
