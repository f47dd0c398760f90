"""S041: a stateful daemon under client load, while it is killed and paused, and while its runtime is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from fixtures import keeper
from scenarios.checks import faults, identity, service, states, stops
from scenarios.faults.base import Fault
from scenarios.faults.runtimes import against
from scenarios.lab import Lab
from scenarios.scenario import Pace, Scenario, Workload
from scenarios.tables import always, daemon_class
from scenarios.workloads.clients import not_running
from scenarios.workloads.keeping import Client, count, follow, holders
from scenarios.workloads.observers import Generation

NAME = "keeper"
TARGET = f"{Path(keeper.__file__).resolve()}:Keeper"
CLIENTS = 4
FIRST_DELAY, LONGEST_DELAY = 0.2, 1.0
"""Seconds between an end and the next start, by the policy: at first and at most."""
START_WITHIN = 4.0
"""Seconds from a start, or from a runtime that is back, to the first answer; it takes one on an idle machine."""
BOUND = LONGEST_DELAY + START_WITHIN
CALM = 0.8
"""Seconds without a fault at the beginning."""
WRITES = 100
"""Acknowledged writes below which a run says nothing."""
LOOKS = 10
"""Looks that found exactly one, below which nobody has watched: there are some fifty on an idle machine."""
BY_FAULTS = ("killed by SIGKILL", "killed by SIGSEGV", "exit code 0")
"""How it ends: by the faults, by dockerd (which ends what it finds running when it starts), and by the operator."""


AT_ONCE = ("kill", "segv", "daemon-reexec", "daemon-reexec-then-kill")
"""Faults after which it must come back by itself; after the others once they are healed."""


class Keeping(Workload):
    """Clients put and read while the nemesis strikes, until everything is healed and each was answered again."""

    pace = Pace()

    async def setup(self, lab: Lab) -> None:
        """A folder that outlives every instance."""
        self.folder = lab.folder / "kept"
        self.folder.mkdir()
        self.clients = [Client(lab, f"client-{n}", self.folder / "keeper.sock") for n in range(CLIENTS)]
        self.last = Client(lab, "last", self.folder / "keeper.sock")
        self.generations: list[Generation] = []

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """Everything there is on this platform, each once."""
        offered = against(lab.platform, lambda: holders(self.folder / "keeper.lock"))
        self.pace = Pace(count=len(offered), first=CALM, gap=2.0, hold=0.8)
        return offered

    async def run(self, lab: Lab) -> None:
        """Observe and serve until the schedule is over and every client has been answered since."""
        await lab.manager()
        policy = always(initial_delay=FIRST_DELAY, multiplier=2.0, max_delay=LONGEST_DELAY, stable_after=2.0)
        settings = {"folder": str(self.folder)}
        table = daemon_class(TARGET, NAME, restart=policy, settings=settings, shutdown_timeout=5.0)
        await lab.register(table)
        watching = [
            asyncio.create_task(follow(lab, NAME, self.folder, self.generations)),
            asyncio.create_task(count(lab, NAME, self.folder / "keeper.lock")),
        ]
        try:
            await lab.start(NAME)
            await asyncio.gather(*(client.work(lambda: self._over(lab)) for client in self.clients))
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    def _over(self, lab: Lab) -> bool:
        """Whether all is healed and every client has been answered since, or the time for that is over."""
        if not lab.nemesis.finished.is_set():
            return False
        healed = max((o.time for o in lab.history.operations if o.f == "heal"), default=0.0)
        answered = all(client.acknowledged_at > healed for client in self.clients)
        return answered or lab.history.now() > healed + BOUND + 1.0

    async def recover(self, lab: Lab) -> str:
        """It runs and answers; then it is stopped, and what is on disk is looked at."""
        wrong = await not_running(lab, [NAME])
        if wrong:
            return wrong
        if not await self.last.put() or await self.last.read() is None:
            return f"{NAME} does not answer"
        for client in (*self.clients, self.last):
            await client.close()
        await lab.stop(NAME)
        for generation in self.generations:
            await generation.note(2.0)
        lab.observe("survivors", pids=holders(self.folder / "keeper.lock"))
        lab.observe("kept", values=(self.folder / "values").read_text().split())
        return ""


SCENARIO = Scenario(
    id="S041",
    title="a stateful daemon under client load is killed and paused, and so is its runtime",
    invariant="no acknowledged write is lost, there is never a second instance, and it is back in time",
    seen_in="moby#40789, systemd#28184",
    workload=Keeping,
    adapters=("native", "systemd", "docker", "podman"),
    breaks_runtime=True,
    checks=(
        faults.took_effect("kill", "stop"),
        service.no_acknowledged_write_lost(WRITES),
        identity.never_two_at_once(NAME, LOOKS),
        identity.one_generation_at_a_time(NAME),
        service.available_again_within(BOUND, at_once=AT_ONCE),
        service.ends_only_by(NAME, *BY_FAULTS),
        faults.recovered(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
        states.never_running_without_a_process(),
    ),
    limit=90.0,
    recovery=10.0,
)
