"""One attempt for every verdict."""

from __future__ import annotations

import asyncio
import time

import toyproduct

from falsification.kit import Trial, attempt


@attempt(
    "F001", saboteurs=["toy-adds-wrongly", "toy-patched", "toy-is-rude", "toy-fits-nowhere", "toy-crashes"]
)
async def test_adding_works(trial: Trial) -> None:
    """Sums are right here and in another process."""
    here = toyproduct.add(2, 3)
    elsewhere = await asyncio.to_thread(toyproduct.add_elsewhere, 2, 3)
    trial.reached("two numbers were added", 2)
    trial.attach("sums.txt", f"{here} {elsewhere}")
    trial.expect(here == 5, "2 + 3 is 5 in this process")
    trial.expect(elsewhere == 5, "2 + 3 is 5 in another process")


@attempt("F003", level="logic")
def test_five_is_even(trial: Trial) -> None:
    """Five is even."""
    trial.reached("a five was looked at")
    assert 5 % 2 == 0, "five is odd"


@attempt("F004", level="logic")
def test_the_moon_is_near(trial: Trial) -> None:
    """The moon is near."""
    trial.situation("somebody went there", at_least=2)
    trial.reached("somebody went there")


@attempt("F005", level="logic")
def test_attempts_do_not_break(trial: Trial) -> None:
    """An attempt with a mistake in it."""
    trial.defer(trial.log, "cleaned up")
    raise KeyError("the attempt's own mistake")


@attempt("F007", level="logic")
def test_a_unicorn_is_here(trial: Trial) -> None:
    """A unicorn is here."""
    trial.check(False, "this is never reached")


@attempt("F002", alone=True)
async def test_adding_is_quick(trial: Trial) -> None:
    """A sum takes less than a second."""
    samples = []
    for _ in range(trial.rounds(100, 10)):
        began = time.perf_counter()
        toyproduct.add(1, 1)
        samples.append((time.perf_counter() - began) * 1000)
    trial.reached("sums were timed", len(samples))
    trial.judge(samples)
