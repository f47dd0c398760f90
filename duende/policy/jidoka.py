"""Jidoka: checks in order, and the line stops where one finds something wrong, before anything is built on it.

(T. Ohno, "Toyota Production System", 1988: a machine that stops by itself makes no defects.)
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec


class Kind(enum.Enum):
    """What a check is about."""

    PRECONDITION = "precondition"
    INVARIANT = "invariant"
    POSTCONDITION = "postcondition"
    RESOURCE_LEAK = "resource-leak"
    TIMEOUT = "timeout"


ADVICE = {
    Kind.PRECONDITION: "correct what was handed in, and begin again",
    Kind.INVARIANT: "undo the change that broke it, or change the rule on purpose",
    Kind.POSTCONDITION: "look at what the step did; it did not do what it promised",
    Kind.RESOURCE_LEAK: "find who holds it, and release it before going on",
    Kind.TIMEOUT: "find what it waits for; raise the limit only when you know why",
}
"""One sentence for each kind."""


class Item(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    passed: bool
    message: str = ""


class Evidence:
    """What the checks looked at, and found, in order."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def add(self, name: str, passed: bool, message: str = "") -> None:
        """Note one thing."""
        self.items.append(Item(name, passed, message))

    @property
    def all_passed(self) -> bool:
        """Whether nothing failed; true of nothing at all."""
        return all(item.passed for item in self.items)


class Stop(msgspec.Struct, frozen=True):
    """A violation: which check, of which kind, and what it says."""

    check: str
    kind: Kind
    message: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate said."""

    violations: tuple[Stop, ...] = ()
    recommendation: str = ""
    unchecked: tuple[str, ...] = ()
    """Checks that were not made any more."""

    @property
    def passed(self) -> bool:
        """Whether the line goes on."""
        return not self.violations


Verify = Callable[[Evidence], str | None]
"""Looks, notes what it saw in the evidence, and says what is wrong; None where nothing is."""


class JidokaGate:
    """Checks in the order in which they were added."""

    def __init__(self, *, stop_on_first: bool = True) -> None:
        """*stop_on_first*: whether checks after the first violation are left undone."""
        self.stop_on_first = stop_on_first
        self._checks: list[tuple[str, Kind, Verify]] = []

    def add_check(self, name: str, kind: Kind, verify: Verify) -> None:
        """Add one at the end."""
        self._checks.append((name, kind, verify))

    def check(self, evidence: Evidence | None = None) -> Outcome:
        """Run the checks. An exception of a check is a violation of its own: a check that cannot look has not seen that all is well."""
        noted = Evidence() if evidence is None else evidence
        violations: list[Stop] = []
        unchecked: list[str] = []
        for name, kind, verify in self._checks:
            if violations and self.stop_on_first:
                unchecked.append(name)
                continue
            try:
                wrong = verify(noted)
            except Exception as error:  # noqa: BLE001 - whatever it is, the line must not go on
                wrong = f"the check itself failed: {type(error).__name__}: {error}"
            noted.add(name, wrong is None, wrong or "")
            if wrong is not None:
                violations.append(Stop(name, kind, wrong))
        advice = dict.fromkeys(ADVICE[each.kind] for each in violations)
        return Outcome(
            violations=tuple(violations), recommendation="; ".join(advice), unchecked=tuple(unchecked)
        )
