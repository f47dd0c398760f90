"""Verdicts and how they compose: true, unknown, false, and the worst wins."""

from __future__ import annotations

import enum
import traceback
from collections.abc import Callable, Iterable, Sequence

import msgspec

from scenarios.history import Operation


class Verdict(enum.IntEnum):
    """The order is the order of badness."""

    TRUE = 0
    UNKNOWN = 1
    FALSE = 2


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with its reason."""

    verdict: Verdict
    why: str
    vacuous: bool = False
    """The situation that the check is about never came about; the verdict is then at best unknown."""
    checker: str = ""
    """Which checker says so."""


Checker = Callable[[Sequence[Operation]], Result]


def true(why: str) -> Result:
    """The invariant held, in the situation it is about."""
    return Result(verdict=Verdict.TRUE, why=why)


def false(why: str) -> Result:
    """The invariant did not hold."""
    return Result(verdict=Verdict.FALSE, why=why)


def unknown(why: str) -> Result:
    """The history does not tell."""
    return Result(verdict=Verdict.UNKNOWN, why=why)


def vacuous(why: str) -> Result:
    """The history never reached the situation."""
    return Result(verdict=Verdict.UNKNOWN, why=why, vacuous=True)


def check(checker: Checker, history: Sequence[Operation]) -> Result:
    """Run one checker. An empty history is vacuous, a checker that crashes leaves the verdict unknown."""
    name = name_of(checker)
    if not history:
        return msgspec.structs.replace(vacuous("nothing happened"), checker=name)
    try:
        result = checker(history)
    except Exception as error:  # noqa: BLE001 - whatever a checker does, it must not look like a pass
        where = traceback.extract_tb(error.__traceback__)[-1]
        result = unknown(f"the checker crashed at {where.name}:{where.lineno}: {error!r}")
    return msgspec.structs.replace(result, checker=name)


def everything(checkers: Iterable[Checker], history: Sequence[Operation]) -> list[Result]:
    """Run all of them; without any there is nothing that could be true."""
    results = [check(checker, history) for checker in checkers]
    return results or [Result(verdict=Verdict.UNKNOWN, why="no checker", checker="none")]


def worst(results: Sequence[Result]) -> Result:
    """The result that decides: the worst verdict, among equals a checked one before a vacuous one.

    When all are true the reasons are joined, because each of them says something else.
    """
    if not results:
        return unknown("no checker")
    verdict = max(result.verdict for result in results)
    chosen = [result for result in results if result.verdict is verdict]
    if verdict is Verdict.TRUE:
        return Result(verdict=verdict, why="; ".join(result.why for result in chosen))
    # Among unknowns a real doubt is worth more attention than a situation that never came about.
    chosen.sort(key=lambda result: result.vacuous)
    return chosen[0]


def name_of(checker: Checker) -> str:
    """The name of a checker, also of one that was made by a function."""
    return getattr(checker, "__qualname__", repr(checker)).split(".<locals>")[0]
