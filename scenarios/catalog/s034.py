"""S034: two files applied in parallel, and one with an unknown key, while the manager is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fixtures.daemons import command
from scenarios.checks import applies, faults, stops
from scenarios.faults.processes import kill
from scenarios.lab import Lab
from scenarios.look import command_line, until
from scenarios.scenario import Scenario, Workload
from scenarios.tables import daemon, to_toml
from scenarios.workloads.command import Person, manager_pids

NAMES = ("web-a", "web-b", "web-c")
ROUNDS = 6
LATEST = 0.5
"""Seconds after the manager has come up until it is killed: an apply takes 0.1 to 0.3 of them."""
ALIVE_WITHIN = 20.0


class ParallelFiles(Workload):
    """Two persons apply two files that define the same daemons differently, a third one a broken file."""

    async def run(self, lab: Lab) -> None:
        """Several rounds on the same folders, the manager killed in most of them."""
        left, right = (self._file(lab, name) for name in ("left", "right"))
        broken = self._file(lab, "broken", nonsense=1)
        source = lab.rng("moments")
        persons = [Person(lab, name) for name in ("one", "two", "three")]
        for number in range(ROUNDS):
            both = asyncio.gather(persons[0].applies(left), persons[1].applies(right))
            killed = number % 3 != 2
            if killed:
                await until(lambda: manager_pids(lab), ALIVE_WITHIN, step=0.002)
                await asyncio.sleep(source.uniform(0.0, LATEST))  # the moment of the seed
                await lab.nemesis.strike(kill(lambda: manager_pids(lab)))
            succeeded = await both
            if killed or not any(succeeded):
                last = source.choice((left, right))
                applied = await persons[2].applies(last)
                await self._look(lab, last.stem if applied else None)
            else:
                await self._look(lab, None)
            before = await self._present(lab)
            await persons[2].applies(broken)
            lab.observe("around", file="broken", before=before, after=await self._present(lab))
        await persons[2].asks("shutdown")
        await lab.survivors(5.0)
        for name in NAMES:
            for line in lab.reported(name):
                lab.observe("life", name=name, **line)

    @staticmethod
    def _file(lab: Lab, generation: str, **more: Any) -> Path:
        path = lab.folder / f"{generation}.toml"
        tables = [
            lab.marked(
                daemon(name, command("marker", lab.report(name), generation), restart="always", **more)
            )
            for name in NAMES
        ]
        path.write_text(to_toml(tables))
        return path

    @staticmethod
    async def _present(lab: Lab) -> dict[str, int]:
        _, answer = await Person(lab, "observer").asks("ps")
        views = answer["result"] if isinstance(answer, dict) and answer.get("ok") else []
        return {view["name"]: view["pid"] for view in views}

    async def _look(self, lab: Lab, wanted: str | None) -> None:
        present = await self._present(lab)
        generations = {
            name: (command_line(pid) or ["nobody"])[-1] for name, pid in present.items() if pid > 1
        }
        absent = {name: "nobody" for name in NAMES if name not in generations}
        lab.observe("fleet", generations={**generations, **absent}, wanted=wanted)


SCENARIO = Scenario(
    id="S034",
    title="two files applied in parallel, and one with an unknown key, while the manager is killed",
    invariant="files are applied whole; a non-zero exit and the previous definition is kept; never two instances",
    seen_in="podman#18778",
    workload=ParallelFiles,
    checks=(
        faults.took_effect("kill"),
        applies.whole_files(least=ROUNDS - 1),
        applies.one_instance(*NAMES),
        applies.refused_changes_nothing("broken"),
        stops.nothing_left(),
    ),
    limit=120.0,
)
