"""An attempt: one test function bound to one claim by id, with what it needs and what must catch it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from falsification.kit.verdict import Level

if TYPE_CHECKING:
    from falsification.kit.trial import Trial

Body = TypeVar("Body", bound="Callable[[Trial], Awaitable[None] | None]")

MARK = "__attempt__"
"""The attribute of a test function that holds its Attempt."""

DEFAULT_TIMEOUT_S = 60.0
"""Seconds an attempt may take; an attempt beyond it is broken."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What the harness knows of an attempt before running it."""

    claim: str
    """Id of the claim it tries to falsify."""
    level: Level
    """The evidence it gives when all goes as planned; `Trial.level` may say otherwise at run time."""
    timeout: float
    """Seconds it may take."""
    alone: bool
    """Whether it measures time and must have the machine to itself."""
    saboteurs: tuple[str, ...]
    """Names of the defects under which it must come out falsified."""
    needs: tuple[str, ...]
    """What it needs besides the claim's own needs."""
    stand_in: tuple[str, ...] = ()
    """Those of the claim's needs that a stand-in takes the place of where they are missing: the evidence is `emulated` then."""
    name: str
    """Name of the test function."""
    sentence: str
    """First line of its docstring: the claim in one present-tense sentence."""


def attempt(
    claim: str,
    *,
    level: str = "process",
    timeout: float = DEFAULT_TIMEOUT_S,
    alone: bool = False,
    saboteurs: Iterable[str] = (),
    needs: Iterable[str] = (),
    stand_in: Iterable[str] = (),
) -> Callable[[Body], Body]:
    """Bind the decorated test to *claim*. It takes one argument, a `Trial`, and may be a coroutine function.

    Raises:
        ValueError: the function has no docstring, or the level or the timeout makes no sense.
    """

    def bind(function: Body) -> Body:
        name = getattr(function, "__name__", "?")
        sentence = (function.__doc__ or "").strip().splitlines()
        if not sentence:
            raise ValueError(f"{name}: an attempt says what it tries, in a docstring")
        if timeout <= 0:
            raise ValueError(f"{name}: timeout must be positive, not {timeout}")
        bound = Attempt(
            claim=claim,
            level=Level(level),
            timeout=timeout,
            alone=alone,
            saboteurs=tuple(saboteurs),
            needs=tuple(needs),
            stand_in=tuple(stand_in),
            name=name,
            sentence=sentence[0],
        )
        setattr(function, MARK, bound)
        return function

    return bind


def of(function: Any) -> Attempt | None:
    """The Attempt of a test function, or None for any other function."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, Attempt) else None
