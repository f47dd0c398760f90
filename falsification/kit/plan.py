"""The plan: what attempts there are, as pytest collected them, and which of them a run selects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from falsification.kit.claim import Claim, ClaimsError
from falsification.kit.runner import run_pytest
from falsification.kit.suite import Suite
from falsification.kit.verdict import Level

COLLECT_DEADLINE_S = 120.0


class RefusedError(Exception):
    """The suite does not start: an id without binding, a changed claim, an attempt that is no Python."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One attempt as the plan has it."""

    nodeid: str
    claim: str
    level: str
    timeout: float
    alone: bool
    saboteurs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One saboteur as the plan has it."""

    breaks: str
    mutant: bool
    vacuous_is_caught: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything collected."""

    attempts: dict[str, Planned]
    saboteurs: dict[str, Defect]


async def make_plan(suite: Suite, out: Path) -> Plan:
    """Collect all attempts and check every binding.

    Raises:
        RefusedError: something is wrong with the claims, the bindings or the attempts; the text says what.
    """
    target = out / "plan.json"
    target.unlink(missing_ok=True)
    paths = suite.attempt_paths()
    finished = await run_pytest(
        suite,
        ["--collect-only", "-qq", "--plan", str(target), *paths],
        log=out / "collect.log",
        deadline=COLLECT_DEADLINE_S,
    )
    if not target.exists() or finished.code not in {0, 5}:  # 5: no attempts at all, each claim has its reason
        raise RefusedError(finished.output.strip() or f"pytest ended with {finished.code}")
    data = json.loads(target.read_text(encoding="utf-8"))
    planned = [
        Planned(
            nodeid=each["nodeid"],
            claim=each["claim"],
            level=each["level"],
            timeout=each["timeout"],
            alone=each["alone"],
            saboteurs=tuple(each["saboteurs"]),
        )
        for each in data["attempts"]
    ]
    defects = {name: Defect(**each) for name, each in data["saboteurs"].items()}
    return Plan(
        attempts={each.claim: each for each in sorted(planned, key=lambda each: each.claim)},
        saboteurs=defects,
    )


def select(
    claims: Mapping[str, Claim],
    *,
    ids: Iterable[str] = (),
    categories: Iterable[str] = (),
    levels: Iterable[str] = (),
) -> list[str]:
    """The ids a run is about: those named, of those categories, requiring those levels; without any of them,
    all.

    Raises:
        ClaimsError: an id, a category or a level is unknown.
    """
    named, wanted, strengths = list(ids), set(categories), set(levels)
    unknown = [name for name in named if name not in claims]
    unknown += sorted(wanted - {claim.category for claim in claims.values()}) + sorted(
        strengths - {level.value for level in Level}
    )
    if unknown:
        raise ClaimsError(f"no such claim, category or level: {', '.join(unknown)}")
    return [
        name
        for name, claim in claims.items()
        if (not named or name in named)
        and (not wanted or claim.category in wanted)
        and (not strengths or claim.requires.value in strengths)
    ]
