"""The falsify run: attempts that may run side by side first, those that measure time alone after them, those on a runtime last; each
entered as it ends.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from falsification.kit.board import STYLES, claim_line, state
from falsification.kit.ledger import Ledger
from falsification.kit.plan import Plan, Planned
from falsification.kit.progress import Progress
from falsification.kit.record import Record
from falsification.kit.runner import run_pytest
from falsification.kit.runtimes import held, uses_runtime
from falsification.kit.seeds import derive
from falsification.kit.suite import Suite
from falsification.kit.verdict import Verdict

SLACK_S = 60.0
"""Seconds a run of pytest may take beyond its attempts' own timeouts: start, collection, cleanups."""


class FalsifyRun:
    """One run over the selected attempts."""

    def __init__(
        self, suite: Suite, plan: Plan, ledger: Ledger, out: Path, progress: Progress, *, seed: int, jobs: int
    ) -> None:
        """Take everything the run needs; nothing happens yet."""
        self.suite = suite
        self.plan = plan
        self.ledger = ledger
        self.out = out
        self.progress = progress
        self.seed = seed
        self.jobs = jobs
        self.finished: set[str] = set()
        self.running: list[str] = []
        self.lost: list[str] = []
        """Claims whose attempt ended without a record: the harness, not the claim, is at fault."""
        self.total = 0
        self.flaky: list[str] = []
        """Claims that survived only when tried once more."""
        self._flaky = False

    async def run(self, ids: Sequence[str], *, retry: Collection[Verdict] = ()) -> None:
        """Attempt *ids*; those with a verdict of *retry* once more, alone: a pass is then flaky."""
        chosen = [self.plan.attempts[name] for name in ids if name in self.plan.attempts]
        self.total = len(chosen)
        own, on_runtime = self._parted(chosen)
        await self._group([each for each in own if not each.alone], "side-by-side", jobs=self.jobs)
        await self._group([each for each in own if each.alone], "alone", jobs=1)
        with held(bool(on_runtime), self.progress.line):
            await self._group([each for each in on_runtime if not each.alone], "runtimes", jobs=self.jobs)
            await self._group([each for each in on_runtime if each.alone], "runtimes-alone", jobs=1)
        failed = [each for each in chosen if Verdict(self.ledger.claim(each.claim)["verdict"]) in retry]
        if failed:
            self.progress.line(f"once more: {' '.join(each.claim for each in failed)}", "bold")
            self._flaky = True
            self.finished.clear()
            again = {each.claim for each in failed}
            self.lost = [name for name in self.lost if name not in again]
            self.total = len(failed)
            with held(bool(self._parted(failed)[1]), self.progress.line):
                await self._group(failed, "retry", jobs=1)
        self.ledger.save()

    def _parted(self, chosen: Sequence[Planned]) -> tuple[list[Planned], list[Planned]]:
        """Those without and those with a runtime: no other attempt measures time beside a Docker."""
        claims = self.suite.claims()
        parts: tuple[list[Planned], list[Planned]] = ([], [])
        for each in chosen:
            parts[uses_runtime(claims[each.claim].needs)].append(each)
        return parts

    async def _group(self, group: Sequence[Planned], name: str, *, jobs: int) -> None:
        if not group:
            return
        records = self.out / "attempts"
        for each in group:
            (records / each.claim / "record.json").unlink(missing_ok=True)
        arguments = ["--run-seed", str(self.seed), "--records", str(records)]
        if find_spec("allure_pytest") is not None:
            arguments += ["-p", "allure_pytest.plugin", "--alluredir", str(self.out / "allure-results")]
        side_by_side = jobs > 1 and len(group) > 1 and find_spec("xdist") is not None
        arguments += ["-p", "xdist.plugin", "-n", str(min(jobs, len(group)))] if side_by_side else []
        finished = await run_pytest(
            self.suite,
            [*arguments, *(each.nodeid for each in group)],
            log=self.out / f"pytest-{name}.log",
            deadline=sum(each.timeout for each in group) + SLACK_S,
            heard=self._heard,
        )
        for each in group:
            if each.claim not in self.finished:
                self._lost(each, finished.code, expired=finished.expired)

    def _heard(self, message: dict[str, Any]) -> None:
        name = message["claim"]
        if message["event"] == "start":
            self.running.append(name)
        else:
            self._enter(
                name, json.loads((self.out / "attempts" / name / "record.json").read_text(encoding="utf-8"))
            )
        self.progress.running(self.running, len(self.finished), self.total)

    def _enter(self, name: str, record: dict[str, Any]) -> None:
        self.finished.add(name)
        if name in self.running:
            self.running.remove(name)
        flaky = self._flaky and record["verdict"] == Verdict.SURVIVED.value
        if flaky:
            self.flaky.append(name)
        self.ledger.put(name, record, saboteurs=self.plan.attempts[name].saboteurs, flaky=flaky)
        self.ledger.save()
        entry = self.ledger.claim(name)
        self.progress.line(claim_line(entry, len(self.finished), self.total), STYLES[state(entry)])

    def _lost(self, planned: Planned, code: int, *, expired: bool) -> None:
        how = "was ended, its time was up" if expired else f"ended with {code}"
        record = Record(
            claim=planned.claim,
            verdict=Verdict.BROKEN,
            why=f"the attempt left no record: the process that ran it {how}",
            level=planned.level,
            seed=derive(self.seed, planned.claim),
            duration_s=0.0,
            figures=(),
            situations=(),
            saboteur="",
            lines=(),
            attachments=(),
        )
        record.write(self.out / "attempts" / planned.claim)
        self.lost.append(planned.claim)
        self._enter(planned.claim, record.to_json())
