"""The saboteur run: each attempt once under each of its planted defects, in a copy of the product that has
the defect.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from falsification.kit import saboteur as saboteurs
from falsification.kit.board import STYLES, saboteur_line
from falsification.kit.ledger import Ledger
from falsification.kit.plan import Defect, Plan, Planned
from falsification.kit.progress import Progress
from falsification.kit.runner import run_pytest
from falsification.kit.runtimes import held, uses_runtime
from falsification.kit.suite import Suite

SLACK_S = 45.0
"""Seconds a saboteur run may take beyond the attempt's own timeout: start, collection, cleanups."""
AT_ONCE = 3
"""Saboteur runs of attempts that do not measure time, side by side."""


def judge(defect: Defect, record: dict[str, Any] | None) -> tuple[bool, str]:
    """Whether the attempt noticed the defect, and why.

    Only a falsified claim counts, unless the saboteur declares otherwise.
    """
    if record is None:
        return False, "the attempt left no record under it"
    verdict, why = record["verdict"], record["why"]
    if verdict == "falsified":
        return True, why
    if verdict == "vacuous" and defect.vacuous_is_caught:
        return True, f"{defect.vacuous_is_caught} ({why})"
    if verdict == "survived":
        return False, f"went unnoticed: {defect.breaks}"
    return False, f"the attempt came out {verdict}, which proves nothing: {why}"


class SaboteurRun:
    """One run over attempts and their saboteurs."""

    def __init__(
        self, suite: Suite, plan: Plan, ledger: Ledger, out: Path, progress: Progress, *, seed: int
    ) -> None:
        """Take everything the run needs; nothing happens yet."""
        self.suite = suite
        self.plan = plan
        self.ledger = ledger
        self.out = out
        self.progress = progress
        self.seed = seed
        self.broken: list[str] = []
        """Saboteurs that cannot be planted: the harness is at fault."""
        self.flaky: list[str] = []
        """Saboteurs that were caught only when tried once more, with their claims."""
        self._defects = saboteurs.load(suite.saboteurs)
        self._done = 0
        self._total = 0
        self._running: list[str] = []
        self._unclear: list[tuple[Planned, str]] = []

    async def run(self, ids: Sequence[str], *, again: bool = False) -> None:
        """Run every saboteur of the attempts of *ids*: those of attempts that measure time one by one, the
        others three at a time. With *again*, those whose attempt proved nothing (broken, vacuous, without a record)
        once more, alone; never one that went unnoticed.
        """
        pairs = [
            (attempt, name)
            for claim in ids
            if (attempt := self.plan.attempts.get(claim))
            for name in attempt.saboteurs
        ]
        self._total = len(pairs)
        claims = self.suite.claims()
        on_runtime = [pair for pair in pairs if uses_runtime(claims[pair[0].claim].needs)]
        await self._all([pair for pair in pairs if pair not in on_runtime])
        with held(bool(on_runtime), self.progress.line):
            await self._all(on_runtime)
        if again and self._unclear:
            await self._once_more(self._unclear)
        self.ledger.save()

    async def _once_more(self, pairs: list[tuple[Planned, str]]) -> None:
        labels = [f"{attempt.claim}/{name}" for attempt, name in pairs]
        self.progress.line(f"once more: {' '.join(labels)}", "bold")
        self._unclear = []
        self._total += len(pairs)
        claims = self.suite.claims()
        with held(any(uses_runtime(claims[each.claim].needs) for each, _ in pairs), self.progress.line):
            for (attempt, name), label in zip(pairs, labels, strict=True):
                if await self._one(attempt, name):
                    self.flaky.append(label)

    async def _all(self, pairs: Sequence[tuple[Planned, str]]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def guarded(attempt: Planned, name: str) -> None:
            async with gate:
                await self._one(attempt, name)

        async with asyncio.TaskGroup() as group:
            for attempt, name in pairs:
                if not attempt.alone:
                    group.create_task(guarded(attempt, name))
        for attempt, name in pairs:
            if attempt.alone:
                await self._one(attempt, name)

    async def _one(self, attempt: Planned, name: str) -> bool:
        label = f"{attempt.claim}/{name}"
        self._running.append(label)
        self.progress.running(self._running, self._done, self._total)
        try:
            caught, why = await self._try(attempt, name)
        except saboteurs.SaboteurError as error:
            caught, why = False, f"the saboteur itself is broken: {error}"
            self.broken.append(name)
        self._running.remove(label)
        self._done += 1
        self.ledger.put_saboteur(attempt.claim, name, caught=caught, why=why)
        self.ledger.save()
        line = saboteur_line(
            attempt.claim, name, caught=caught, why=why, number=self._done, total=self._total
        )
        self.progress.line(line, STYLES["caught" if caught else "missed"])
        self.progress.running(self._running, self._done, self._total)
        return caught

    async def _try(self, attempt: Planned, name: str) -> tuple[bool, str]:
        defect = self._defects[name]
        records = self.out / "saboteurs" / name
        shutil.rmtree(records / attempt.claim, ignore_errors=True)
        arguments = [
            "--run-seed",
            str(self.seed),
            "--records",
            str(records),
            "--saboteur",
            name,
            attempt.nodeid,
        ]
        with tempfile.TemporaryDirectory(prefix="df-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            suite = self.suite
            if defect.edits:
                os.chmod(folder, 0o755)
                tree = Path(folder) / "tree"
                suite = suite.inside(saboteurs.plant(defect, self.suite.root, self.suite.copied, tree))
            log = records / attempt.claim / "pytest.log"
            await run_pytest(suite, arguments, log=log, deadline=attempt.timeout + SLACK_S)
        record = _record(records / attempt.claim / "record.json")
        caught, why = judge(self.plan.saboteurs[name], record)
        if not caught and (record is None or record["verdict"] != "survived"):
            self._unclear.append((attempt, name))
        return caught, why


def _record(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
