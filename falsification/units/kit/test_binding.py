"""Every way to bind a claim wrongly is named."""

from __future__ import annotations

import pytest

from falsification.kit.authoring import Attempt, attempt, of
from falsification.kit.binding import problems
from falsification.kit.trial import Trial
from falsification.kit.verdict import Level


def bound(claim: str, *saboteurs: str) -> Attempt:
    """An attempt at *claim*."""
    return Attempt(
        claim=claim,
        level=Level.PROCESS,
        timeout=1,
        alone=False,
        saboteurs=saboteurs,
        needs=(),
        name=f"test_{claim}",
        sentence="It does.",
    )


def test_a_complete_binding_is_silent() -> None:
    """One attempt, one reason, all saboteurs known."""
    assert problems(["F001", "F002"], [bound("F001", "lazy")], {"F002": "no macOS"}, ["lazy"]) == []


@pytest.mark.parametrize(
    ("attempts", "reasons", "message"),
    [
        ([], {"F002": "x"}, "F001 has neither an attempt nor a reason"),
        ([bound("F001"), bound("F001")], {"F002": "x"}, "F001 has 2 attempts, not one"),
        ([bound("F001"), bound("F009")], {"F002": "x"}, "test_F009 is bound to F009, which is no claim"),
        ([bound("F001")], {"F001": "x", "F002": "x"}, "F001 has an attempt and still stands"),
        ([bound("F001")], {"F002": "x", "F009": "x"}, "F009 in the table of unattempted claims is no claim"),
        ([bound("F001")], {"F002": " "}, "F002 stands among the unattempted claims without a reason"),
        ([bound("F001", "ghost")], {"F002": "x"}, "names the saboteur 'ghost', which nobody defined"),
    ],
)
def test_a_wrong_binding_is_named(attempts: list[Attempt], reasons: dict[str, str], message: str) -> None:
    """Missing, double, unknown, contradictory and unexplained bindings all have their sentence."""
    found = problems(["F001", "F002"], attempts, reasons, [])
    assert any(message in each for each in found), found


def test_an_attempt_needs_its_sentence() -> None:
    """A function without docstring says nothing the report could print."""

    def silent(trial: Trial) -> None:
        trial.reached("x")

    with pytest.raises(ValueError, match="docstring"):
        attempt("F001")(silent)


def test_the_decorator_leaves_the_function_alone() -> None:
    """It only attaches what the harness needs to know."""

    @attempt("F001", level="logic", alone=True, saboteurs=["a"])
    def speaks(trial: Trial) -> None:
        """It speaks."""

    found = of(speaks)
    assert found is not None
    assert (found.claim, found.level, found.alone, found.saboteurs, found.sentence) == (
        "F001",
        Level.LOGIC,
        True,
        ("a",),
        "It speaks.",
    )
    assert of(test_the_decorator_leaves_the_function_alone) is None
