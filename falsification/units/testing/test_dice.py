"""Chance is honest: p = 0.1 fires in 10 % of the draws, and the same seed fires in the same ones."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError
from duende.testing.dice import Dice, check_probability, fires, uniform

DRAWS = 10_000
SIGMAS = 5.0
"""The normal bound of a binomial: one honest run in three million is further away; a biased source like a clock's low bits is hundreds."""


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.1, 0.233, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["latency", "error", "loss"])
def test_probabilities_are_honest(kind: str, probability: float) -> None:
    """In 10 000 draws with a fixed seed the hits are within five standard deviations of p, exact at 0 and 1."""
    dice = Dice(20_260_101)
    hits = sum(dice.roll(kind, probability) for _ in range(DRAWS))
    bound = SIGMAS * math.sqrt(DRAWS * probability * (1 - probability))
    assert abs(hits - DRAWS * probability) <= bound
    assert (dice.tally[kind].draws, dice.tally[kind].fired) == (DRAWS, hits)
    assert dice.tally[kind].rate == hits / DRAWS


def test_draws_are_uniform_and_independent() -> None:
    """A chi-square of 10 000 draws in 20 cells stays under its 99.99 % point (50.8 for 19 degrees), also for pairs of neighbours."""
    values = [uniform(7, "any", number) for number in range(DRAWS)]
    products = [(1.0 if (a < 0.5) == (b < 0.5) else 0.0) for a, b in itertools.pairwise(values)]
    cells = [0] * 20
    for value in values:
        assert 0 <= value < 1
        cells[int(value * 20)] += 1
    assert sum((count - 500) ** 2 / 500 for count in cells) < 50.8
    assert abs(sum(products) - (DRAWS - 1) / 2) <= SIGMAS * math.sqrt(DRAWS) / 2


@given(st.integers(), st.text(max_size=10), st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1))
def test_chance_is_a_pure_function(seed: int, kind: str, number: int, one: float, other: float) -> None:
    """The same draw gives the same answer, and what fires at a probability fires at every higher one."""
    assert uniform(seed, kind, number) == uniform(seed, kind, number)
    low, high = sorted((one, other))
    assert fires(seed, kind, number, low) <= fires(seed, kind, number, high)


@given(st.integers(0, 2**64), st.lists(st.sampled_from(["a", "b", "c"]), max_size=60))
def test_kinds_do_not_disturb_each_other(seed: int, order: list[str]) -> None:
    """Draw n of a kind is the same, whatever was drawn of other kinds in between."""
    mixed, alone = Dice(seed), Dice(seed)
    found = [(kind, mixed.roll(kind, 0.5)) for kind in order]
    for kind in "abc":
        assert [hit for each, hit in found if each == kind] == [
            alone.roll(kind, 0.5) for _ in range(order.count(kind))
        ]


def test_what_is_no_probability_is_refused() -> None:
    """Below 0, above 1 and nan are named; None means off."""
    check_probability("p", None)
    check_probability("p", 1.0)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="p is"):
            check_probability("p", wrong)
