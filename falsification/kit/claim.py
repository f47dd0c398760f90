"""The claims as data: loaded from claims.toml, guarded by hashes, with numeric thresholds beside them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from falsification.kit.figure import RELATIONS, STATISTICS, Figure, quantity
from falsification.kit.verdict import Level

CATEGORIES = {
    "A": "Lifecycle",
    "B": "Resources",
    "C": "Observability",
    "D": "Policy",
    "E": "Platforms and edges",
}
"""The five categories of claims.toml, in words."""


class ClaimsError(Exception):
    """The claims cannot be used: a text changed without its hash, an id twice, a threshold for nothing.
    Nothing is attempted.
    """


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The numeric part of a claim's criterion."""

    figure: str
    """What is measured."""
    statistic: str
    """Which statistic of the samples is judged."""
    relation: str
    """What it has to be to the value."""
    value: float
    """The bound itself, in `unit`."""
    unit: str
    """Unit of the figure and of the bound."""

    def __str__(self) -> str:
        statistic = "" if self.statistic == "only" else f" ({self.statistic})"
        return f"{self.figure}{statistic} {self.relation} {quantity(self.value, self.unit)}"

    def judged_by(self, figure: Figure) -> bool:
        """Whether *figure* was judged exactly by this bound."""
        return (figure.statistic, figure.relation, figure.threshold, figure.unit) == (
            self.statistic,
            self.relation,
            self.value,
            self.unit,
        )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim, word for word as claims.toml has it."""

    id: str
    """F001 to F110."""
    category: str
    """A to E, see CATEGORIES."""
    title: str
    """The claim in one line."""
    attempt: str
    """How it is to be tried."""
    criterion: str
    """When it survives."""
    needs: tuple[str, ...]
    """What an attempt requires of the machine."""
    requires: Level
    """The weakest evidence that counts."""
    reading: str
    """How the words are to be taken, or empty."""
    threshold: Threshold | None
    """The numeric part of the criterion, or None where the criterion is a fact."""


def digest(table: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical form of one claim's table: any change of any word changes it."""
    canonical = json.dumps(table, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def load(claims: Path, lock: Path, thresholds: Path | None = None) -> dict[str, Claim]:
    """Read every claim, in order of id.

    Raises:
        ClaimsError: the text of a claim does not match its hash, an id is missing from one file or double, or
        a threshold is malformed.
    """
    tables: list[dict[str, Any]] = read_table(claims).get("claim", [])
    hashes = read_table(lock)
    bounds = read_table(thresholds) if thresholds else {}
    problems: list[str] = []
    found: dict[str, Claim] = {}
    for table in tables:
        name = str(table.get("id", "?"))
        if name in found:
            problems.append(f"{name} stands twice in {claims.name}")
            continue
        if hashes.get(name, {}).get("sha256") != digest(table):
            problems.append(f"{name}: its text in {claims.name} does not match its hash in {lock.name}")
        try:
            found[name] = _claim(table, bounds.get(name))
        except (KeyError, ValueError) as error:
            problems.append(f"{name}: cannot be read ({error})")
    for source, names in ((lock, hashes), (thresholds, bounds)):
        problems += [f"{name} in {source.name} is no claim" for name in names if source and name not in found]
    if not found:
        problems.append(f"{claims} has no claims")
    if problems:
        raise ClaimsError("; ".join(problems))
    return dict(sorted(found.items()))


def _claim(table: Mapping[str, Any], bound: Mapping[str, Any] | None) -> Claim:
    return Claim(
        id=table["id"],
        category=table["category"],
        title=table["title"],
        attempt=table["attempt"],
        criterion=table["criterion"],
        needs=tuple(table["needs"]),
        requires=Level(table["level"]),
        reading=table.get("reading", ""),
        threshold=_threshold(bound) if bound is not None else None,
    )


def _threshold(bound: Mapping[str, Any]) -> Threshold:
    if bound["relation"] not in RELATIONS or bound["statistic"] not in STATISTICS:
        raise ValueError(
            f"unknown relation or statistic in its threshold: {bound['relation']}, {bound['statistic']}"
        )
    return Threshold(
        figure=bound["figure"],
        statistic=bound["statistic"],
        relation=bound["relation"],
        value=float(bound["value"]),
        unit=bound["unit"],
    )


def read_table(path: Path) -> dict[str, Any]:
    """Decode a TOML file.

    Raises:
        ClaimsError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ClaimsError(f"cannot read {path}: {error}") from error
