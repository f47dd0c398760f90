"""The ledger: reports/out/verdicts.json, in the schema of `reports/verdicts.schema.json`, updated claim by
claim.

Results of one state of the sources on one machine are merged: a run of a few claims updates those. As soon as
commit, dirtiness
or machine differ, the file starts anew: verdicts about other sources say nothing about these.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from falsification.kit.claim import Claim
from falsification.kit.fingerprint import fingerprint
from falsification.kit.record import write_atomically

SCHEMA = 1
NOT_TRIED = "not tried against this state of the sources"
"""Why a claim or a saboteur has no result yet."""
SCENARIO_KEYS = (
    "id",
    "title",
    "adapter",
    "level",
    "verdict",
    "why",
    "seed",
    "faults",
    "operations",
    "duration_s",
)
"""The keys of a scenario's entry, all required."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Which state of the sources was tried."""

    commit: str
    """Full hash of HEAD, or "unknown" outside a repository."""
    dirty: bool
    """Whether the working tree differs from it."""

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Ask git about the repository of *root*."""
        head = _git(root, "rev-parse", "HEAD")
        if head is None:
            return cls(commit="unknown", dirty=True)
        return cls(commit=head, dirty=bool(_git(root, "status", "--porcelain")))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return None  # no git here: the commit is unknown, and the gate says so
    return done.stdout.strip() if done.returncode == 0 else None


class Ledger:
    """The verdicts of one state of the sources, in memory and on disk."""

    def __init__(
        self, path: Path, tree: Tree, machine: Mapping[str, Any], data: dict[str, Any], *, fresh: bool
    ) -> None:
        """Use `Ledger.open`."""
        self.fresh = fresh
        """Whether it started anew, so that whatever else lies in its folder is about other sources."""
        self.path = path
        self.tree = tree
        self.machine = machine
        self.data = data
        self._began = time.monotonic()
        self._spent_before = float(data["duration_s"])

    @classmethod
    def open(
        cls,
        path: Path,
        claims: Mapping[str, Claim],
        *,
        root: Path,
        seed: int,
        unattempted: Mapping[str, str] | None = None,
    ) -> Ledger:
        """Open *path* if it is about this state of the sources, else start anew; every claim has an entry
        from the start.

        *unattempted* gives the reason of claims that have no attempt.
        """
        tree, machine = Tree.of(root), fingerprint()
        data = _read(path)
        fresh = False
        if data is None or (data["commit"], data["dirty"], data["machine"]) != (
            tree.commit,
            tree.dirty,
            machine,
        ):
            fresh = True
            data = {
                "schema": SCHEMA,
                "commit": tree.commit,
                "dirty": tree.dirty,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "duration_s": 0.0,
                "seed": seed,
                "machine": machine,
                "claims": [],
                "scenarios": [],
            }
        data["seed"] = seed
        ledger = cls(path, tree, machine, data, fresh=fresh)
        known = {(entry["id"], entry["title"], entry["requires"]): entry for entry in data["claims"]}
        reasons = unattempted or {}
        data["claims"] = [
            blank(claim, reasons[name])
            if name in reasons
            else known.get((name, claim.title, claim.requires.value), blank(claim, NOT_TRIED))
            for name, claim in claims.items()
        ]
        return ledger

    def claim(self, name: str) -> dict[str, Any]:
        """The entry of a claim.

        Raises:
            KeyError: there is no such claim.
        """
        for entry in self.data["claims"]:
            if entry["id"] == name:
                return dict(entry)
        raise KeyError(name)

    def put(
        self, name: str, record: Mapping[str, Any], *, saboteurs: Iterable[str], flaky: bool = False
    ) -> None:
        """Enter the *record* of an attempt; each declared saboteur has an entry from then on, uncaught until
        it is run.
        """
        earlier = {each["name"]: each for each in self.claim(name)["saboteurs"]}
        declared = [
            earlier.get(each, {"name": each, "caught": False, "why": NOT_TRIED}) for each in saboteurs
        ]
        self._update(
            name,
            level=record["level"],
            verdict=record["verdict"],
            why=record["why"],
            flaky=flaky,
            seed=record["seed"],
            duration_s=record["duration_s"],
            figures=list(record["figures"]),
            saboteurs=declared,
        )

    def put_saboteur(self, name: str, saboteur: str, *, caught: bool, why: str) -> None:
        """Enter what an attempt made of a saboteur."""
        entries = [each for each in self.claim(name)["saboteurs"] if each["name"] != saboteur]
        entries.append({"name": saboteur, "caught": caught, "why": why})
        self._update(name, saboteurs=sorted(entries, key=lambda each: str(each["name"])))

    def merge_scenarios(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Enter results of scenarios, each with the keys of SCENARIO_KEYS, replacing earlier ones of the same
        id and adapter.

        Raises:
            ValueError: a result lacks a key or has one too many.
        """
        entries = {(each["id"], each["adapter"]): each for each in self.data["scenarios"]}
        for result in results:
            if set(result) != set(SCENARIO_KEYS):
                raise ValueError(
                    f"a scenario's result has the keys {', '.join(SCENARIO_KEYS)}, not {', '.join(result)}"
                )
            entries[result["id"], result["adapter"]] = dict(result)
        self.data["scenarios"] = [entries[key] for key in sorted(entries)]

    def save(self) -> None:
        """Write the file, atomically; its duration grows with this run."""
        self.data["duration_s"] = round(self._spent_before + time.monotonic() - self._began, 3)
        write_atomically(self.path, json.dumps(self.data, indent=1, allow_nan=False))

    def _update(self, name: str, **changes: Any) -> None:
        for entry in self.data["claims"]:
            if entry["id"] == name:
                entry.update(changes)
                return
        raise KeyError(name)


def record_scenarios(
    results: Iterable[Mapping[str, Any]], *, path: Path, claims: Mapping[str, Claim], root: Path, seed: int
) -> None:
    """Open the ledger at *path*, enter the *results* of scenarios, and save it.

    Raises:
        ValueError: a result lacks a key or has one too many.
    """
    ledger = Ledger.open(path, claims, root=root, seed=seed)
    ledger.merge_scenarios(results)
    ledger.save()


def blank(claim: Claim, why: str) -> dict[str, Any]:
    """The entry of a claim nobody tried."""
    return {
        "id": claim.id,
        "title": claim.title,
        "requires": claim.requires.value,
        "level": None,
        "verdict": "unattempted",
        "why": why,
        "flaky": False,
        "seed": None,
        "duration_s": 0.0,
        "figures": [],
        "saboteurs": [],
    }


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # absent or torn: start anew
    usable = isinstance(data, dict) and data.get("schema") == SCHEMA
    usable = usable and {"commit", "dirty", "machine", "claims", "scenarios", "duration_s"} <= set(data)
    return data if usable else None
