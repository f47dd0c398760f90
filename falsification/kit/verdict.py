"""Verdicts and evidence levels: two small ordered scales that everything else in the harness speaks."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.Enum):
    """What one attempt to falsify a claim came to. Nothing but SURVIVED counts in favour of the claim."""

    SURVIVED = "survived"
    """The attempt reached the situation the claim is about, and the claim held."""
    UNATTEMPTED = "unattempted"
    """Something the attempt needs is missing; the reason names it."""
    VACUOUS = "vacuous"
    """The attempt ran, and never reached the situation it is about."""
    BROKEN = "broken"
    """The attempt itself failed: it says nothing about the claim."""
    FALSIFIED = "falsified"
    """The claim was shown to be wrong."""

    @property
    def badness(self) -> int:
        """Place on the scale from best (0) to worst; the order of definition."""
        return _BADNESS[self]

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of *verdicts*: a counterexample outweighs a broken attempt, which outweighs a vacuous
        one.

        Raises:
            ValueError: there is no verdict at all; nothing must not pass for SURVIVED.
        """
        found = list(verdicts)
        if not found:
            raise ValueError("cannot take the worst of no verdicts")
        return max(found, key=lambda verdict: verdict.badness)


_BADNESS = {verdict: place for place, verdict in enumerate(Verdict)}


class Level(enum.Enum):
    """How close to the real platform the evidence is, weakest first (design, section 5)."""

    LOGIC = "logic"
    """The shipped code computed it; the claim is about a computation."""
    EMULATED = "emulated"
    """A stand-in of the platform."""
    PROCESS = "process"
    """Real processes on this kernel."""
    CONTAINER = "container"
    """A real container runtime."""
    MACHINE = "machine"
    """A booted operating system: a guest, or systemd as PID 1."""
    NATIVE = "native"
    """The platform itself on its own hardware."""

    @property
    def strength(self) -> int:
        """Place on the scale from weakest (0) to strongest; the order of definition."""
        return _STRENGTH[self]

    def meets(self, required: Level) -> bool:
        """Whether evidence of this level satisfies a claim that requires *required*."""
        return self.strength >= required.strength


_STRENGTH = {level: place for place, level in enumerate(Level)}
