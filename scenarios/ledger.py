"""Puts results into verdicts.json, beside what the claims put there. Written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scenarios.engine import Report

ROOT = Path(__file__).resolve().parent.parent
VERDICTS = ROOT / "reports" / "out" / "verdicts.json"


def entry(report: Report) -> dict[str, Any]:
    """One report in the shape of the schema."""
    return {
        "id": report.scenario.id,
        "title": report.scenario.title,
        "adapter": report.scenario.adapter,
        "level": report.scenario.level,
        "verdict": report.verdict,
        "why": report.why,
        "seed": report.seed,
        "faults": report.faults,
        "operations": report.operations,
        "duration_s": round(report.duration, 3),
    }


def merge(reports: Iterable[Report], path: Path = VERDICTS) -> None:
    """Replace the entries of these scenarios and adapters, keep everything else; two writers wait for each
    other.
    """
    fresh = {(found["id"], found["adapter"]): found for found in map(entry, reports)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        verdicts: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"schema": 1, "claims": []}
        )
        kept = [old for old in verdicts.get("scenarios", []) if (old["id"], old["adapter"]) not in fresh]
        verdicts["scenarios"] = sorted(
            [*kept, *fresh.values()], key=lambda found: (found["id"], found["adapter"])
        )
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with open(temporary, "w") as file:
            json.dump(verdicts, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
