"""The engine judges, heals and recovers, with workloads that need no manager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from fixtures.lease import Reaper
from scenarios.checks import Checker
from scenarios.checks.core import Result, false, true
from scenarios.checks.faults import recovered, took_effect
from scenarios.engine import make_plan, run
from scenarios.faults.base import Fault, NoEffectError
from scenarios.history import Operation, read
from scenarios.lab import Lab
from scenarios.ledger import entry
from scenarios.scenario import Pace, Scenario, UnmetNeedError, Workload


class Switch(Fault):
    """A fault that is on or off."""

    name = "switch"

    def __init__(self, *, works: bool = True) -> None:
        self.on = False
        self.healed = 0
        self._works = works

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Switch on."""
        if not self._works:
            raise NoEffectError("it is broken")
        self.on = True
        return "it is on"

    async def heal(self) -> str:
        """Switch off."""
        self.on = False
        self.healed += 1
        return "it is off"


class Toy(Workload):
    """Notes a few observations while the switch is played with."""

    pace = Pace(count=2, first=0.0, gap=0.02, hold=0.01)

    def __init__(self, fault: Switch, trouble: Exception | None = None, *, ill: bool = False) -> None:
        self.fault = fault
        self.trouble = trouble
        self.ill = ill

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """Only the switch."""
        return (self.fault,)

    async def run(self, lab: Lab) -> None:
        """Observe, and perhaps raise."""
        lab.observe("weather", sunny=True)
        if self.trouble is not None:
            raise self.trouble

    async def recover(self, lab: Lab) -> str:
        """Well when the switch is off."""
        return "it is still on" if self.fault.on or self.ill else ""


def sunny(history: Sequence[Operation]) -> Result:
    """True when the weather was noted."""
    return true("sunny") if any(operation.f == "weather" for operation in history) else false("no weather")


def rainy(history: Sequence[Operation]) -> Result:
    """Never true."""
    return false("it rains")


def scenario(workload: Workload, *checks: Checker) -> Scenario:
    """A scenario around that workload."""
    return Scenario(
        id="S999",
        title="a toy",
        invariant="it is sunny",
        seen_in="toy#1",
        workload=lambda: workload,
        checks=checks or (sunny, took_effect("switch"), recovered()),
        recovery=0.2,
    )


def test_a_good_run_survives(tmp_path: Path) -> None:
    """Faults take effect and are healed, the system recovers, the checkers agree, the history is kept."""
    fault = Switch()
    report = asyncio.run(run(scenario(Toy(fault)), 7, out=tmp_path))
    assert report.verdict == "survived", report.why
    assert report.faults == ["switch", "switch"]
    assert fault.healed == 2
    assert read(tmp_path / "S999" / "native" / "history.jsonl") == report.history
    assert json.loads(json.dumps(entry(report)))["operations"] == len(report.history)


def test_a_fault_without_effect_is_vacuous() -> None:
    """Nothing is proven by a fault that did nothing."""
    report = asyncio.run(run(scenario(Toy(Switch(works=False))), 7))
    assert report.verdict == "vacuous"
    assert "it is broken" in report.why


def test_a_false_checker_falsifies() -> None:
    """One false checker decides, and is named."""
    report = asyncio.run(run(scenario(Toy(Switch()), sunny, rainy), 7))
    assert (report.verdict, report.why) == ("falsified", "rainy: it rains")


def test_no_recovery_falsifies() -> None:
    """A system that does not get well after healing is falsified."""
    report = asyncio.run(run(scenario(Toy(Switch(), ill=True)), 7))
    assert report.verdict == "falsified"
    assert "still on" in report.why


def test_a_crash_of_the_workload_is_broken_not_passed() -> None:
    """Trouble of the run itself is no verdict about the system, and faults are healed all the same."""
    fault = Switch()
    report = asyncio.run(run(scenario(Toy(fault, ZeroDivisionError("oops")), sunny), 7))
    assert report.verdict == "broken"
    assert "oops" in report.why
    assert not fault.on


def test_an_unmet_need_is_unattempted() -> None:
    """What cannot be tried here is said to be unattempted, with the need."""
    report = asyncio.run(run(scenario(Toy(Switch(), UnmetNeedError("needs the moon"))), 7))
    assert (report.verdict, report.why) == ("unattempted", "needs the moon")


def test_the_plan_depends_on_the_seed_alone() -> None:
    """Two runs of one seed follow the same schedule."""
    fault = Switch()
    first = asyncio.run(run(scenario(Toy(fault)), 11)).schedule
    assert first == make_plan(11, Toy(fault), [fault])
    assert first != make_plan(12, Toy(fault), [fault])
