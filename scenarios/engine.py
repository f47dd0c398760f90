"""Runs a scenario: workload and nemesis side by side, then healing, recovery, the end of everything, and the
verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.lease import Reaper
from scenarios.checks import Result, Verdict, everything, worst
from scenarios.faults.base import Fault
from scenarios.history import History, Operation, write
from scenarios.lab import Lab
from scenarios.platforms import LEVELS, Platform, enter
from scenarios.scenario import Scenario, UnmetNeedError, Workload
from scenarios.schedule import Schedule, plan

CLOSE_WITHIN = 60.0
"""Seconds for the manager to stop everything at the end."""
LOOK_EVERY = 0.1


@dataclass(kw_only=True)
class Report:
    """What came of one run."""

    scenario: Scenario
    seed: int
    verdict: str
    """survived, falsified, vacuous, broken or unattempted, as for a claim."""
    why: str
    adapter: str = "native"
    """Where it ran."""
    results: list[Result] = field(default_factory=list)
    """Of each checker."""
    schedule: Schedule = ()
    faults: list[str] = field(default_factory=list)
    """Faults that took effect."""
    operations: int = 0
    duration: float = 0.0
    history: list[Operation] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """What was made of the history, beside it."""

    @property
    def level(self) -> str:
        """The evidence level of where it ran."""
        return LEVELS[self.adapter]


async def run(
    scenario: Scenario,
    seed: int,
    *,
    adapter: str = "native",
    out: Path | None = None,
    schedule: Schedule | None = None,
) -> Report:
    """One run on one platform, that of *adapter*.

    *out* is a folder for the history; *schedule* replaces the one that the seed gives.
    """
    began = time.monotonic()
    try:
        with enter(adapter, shared=not scenario.breaks_runtime, image=scenario.image) as platform:
            report = await _run_on(platform, scenario, seed, schedule)
    except UnmetNeedError as error:
        report = Report(scenario=scenario, seed=seed, verdict="unattempted", why=str(error))
    report.adapter = adapter
    report.duration = time.monotonic() - began
    if out is not None and report.history:
        folder = out / scenario.id / adapter
        write(folder / "history.jsonl", report.history)
        if scenario.draw is not None:
            for old in (each for each in folder.iterdir() if each.suffix in (".svg", ".txt", ".log")):
                old.unlink()  # of another run
            for name, text in scenario.draw(report.history).items():
                (folder / name).write_text(text, encoding="utf-8")
                report.files.append(name)
    return report


async def _run_on(platform: Platform, scenario: Scenario, seed: int, schedule: Schedule | None) -> Report:
    with (
        tempfile.TemporaryDirectory(
            prefix="duende-scenario-", dir=platform.base, ignore_cleanup_errors=True
        ) as folder,
        Reaper() as reaper,
    ):
        reaper.lease("remove", path=folder)  # also when nobody gets to leave this block
        lab = Lab(Path(folder), seed, reaper, platform)
        workload = scenario.workload()
        trouble, planned = "", schedule or ()
        try:
            await workload.setup(lab)
            offered = [fault for fault in workload.faults(lab) if not fault.unsupported()]
            if schedule is None:
                planned = make_plan(seed, workload, offered)
            trouble = await _play(scenario, workload, lab, offered, planned)
        except UnmetNeedError:
            raise
        except Exception as error:  # noqa: BLE001 - a broken run is a verdict of its own
            trouble = _where(error)
        finally:
            trouble = await _close(lab) or trouble
        report = judge(scenario, lab.history, trouble)
    report.seed, report.schedule, report.faults = seed, planned, list(lab.nemesis.names)
    return report


def make_plan(seed: int, workload: Workload, offered: Sequence[Fault]) -> Schedule:
    """The nemesis's schedule for this workload; a pure function of seed, pace and the names of what is
    offered.
    """
    pace = workload.pace
    names = [fault.name for fault in offered]
    return plan(seed, names, count=pace.count, first=pace.first, gap=pace.gap, hold=pace.hold)


async def _play(
    scenario: Scenario, workload: Workload, lab: Lab, offered: Sequence[Fault], planned: Schedule
) -> str:
    """Workload and nemesis until both are done, then heal and recover; what went wrong with the run."""
    nemesis = asyncio.create_task(lab.nemesis.follow(planned, offered))
    trouble = ""
    try:
        async with asyncio.timeout(scenario.limit):
            await workload.run(lab)
            await nemesis
    except TimeoutError:
        trouble = f"the workload took longer than {scenario.limit:g} s"
    finally:
        nemesis.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await nemesis
        await lab.nemesis.heal_all()
    await _recover(scenario, workload, lab)
    return trouble


async def _recover(scenario: Scenario, workload: Workload, lab: Lab) -> None:
    begun = lab.history.invoke("engine", "recover")
    deadline = time.monotonic() + scenario.recovery
    while wrong := await workload.recover(lab):
        if time.monotonic() > deadline:
            lab.history.fail(begun, {"why": wrong})
            return
        await asyncio.sleep(LOOK_EVERY)
    lab.history.ok(begun)


async def _close(lab: Lab) -> str:
    """End everything; what went wrong, as a trouble of the run."""
    try:
        await lab.nemesis.heal_all()
        await asyncio.wait_for(lab.close(), CLOSE_WITHIN)
    except Exception as error:  # noqa: BLE001 - the reaper ends what is left
        return f"closing failed: {_where(error)}"
    return ""


def judge(scenario: Scenario, history: History, trouble: str) -> Report:
    """The verdict: what the checkers say, and no pass for a run that went wrong itself."""
    results = everything(scenario.checks, history.operations)
    decided = worst(results)
    if decided.verdict is Verdict.FALSE:
        verdict = "falsified"
    elif trouble:
        verdict = "broken"
    elif decided.verdict is Verdict.TRUE:
        verdict = "survived"
    else:
        verdict = "vacuous" if decided.vacuous else "broken"
    why = decided.why if verdict != "broken" or not trouble else trouble
    if verdict != "survived" and decided.checker and why == decided.why:
        why = f"{decided.checker}: {why}"
    return Report(
        scenario=scenario,
        seed=0,
        verdict=verdict,
        why=why,
        results=results,
        operations=len(history.operations),
        history=history.operations,
    )


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
