"""Puts results where the gate reads them: verdicts.json, through the ledger of the claims."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from falsification.kit.ledger import record_scenarios
from falsification.kit.suite import DEFAULT_SUITE, Suite
from scenarios.engine import Report

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "reports" / "out"


def entry(report: Report) -> dict[str, Any]:
    """One report in the shape of the schema."""
    return {
        "id": report.scenario.id,
        "title": report.scenario.title,
        "adapter": report.adapter,
        "level": report.level,
        "verdict": report.verdict,
        "why": report.why,
        "seed": report.seed,
        "faults": report.faults,
        "operations": report.operations,
        "duration_s": round(report.duration, 3),
    }


def merge(reports: Iterable[Report], *, seed: int, path: Path = OUT / "verdicts.json") -> None:
    """Enter the results; earlier ones of the same scenario and adapter are replaced, all else is kept.

    Raises:
        ClaimsError: the claims beside which they are entered cannot be read.
    """
    suite = Suite.read(DEFAULT_SUITE)
    record_scenarios(map(entry, reports), path=path, claims=suite.claims(), root=suite.root, seed=seed)
