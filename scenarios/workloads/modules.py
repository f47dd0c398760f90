"""A stateful module under WOS and its clients; what is seen of it comes from the kernel and from the module itself, not from pids."""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from fixtures.runtimes.wos import Wos
from fixtures.sharing import LabError, LabMissingError
from fixtures.wos import build
from scenarios.checks import Checker, faults, identity, service, states, stops
from scenarios.faults.base import Fault
from scenarios.history import observed
from scenarios.lab import Lab
from scenarios.platforms.modules import Modules
from scenarios.scenario import Pace, UnmetNeedError, Workload
from scenarios.tables import always, daemon
from scenarios.workloads.clients import not_running
from scenarios.workloads.keeping import Client, lives

NAME = "keeper"
CLIENTS = 4
FIRST_DELAY, LONGEST_DELAY = 0.2, 1.0
"""Seconds between an end and the next start, by the policy: at first and at most."""
START_WITHIN = 4.0
"""Seconds from a start, or from a kernel that is back, to the first answer; it takes a tenth of one."""
BOUND = LONGEST_DELAY + START_WITHIN
WRITES = 60
"""Acknowledged writes below which a run says nothing."""
LOOKS = 10
LOOK_EVERY = 0.1
MEMORY = 32 * 1024 * 1024


class KeepingModule(Workload):
    """Clients put and read while the nemesis strikes, until everything is healed and each was answered again."""

    pace = Pace(count=3, first=0.6, gap=1.5, hold=0.5)

    @abstractmethod
    def fault(self, kernel: Wos, folder: Path) -> Fault:
        """What is done, again and again."""

    async def setup(self, lab: Lab) -> None:
        """A folder that outlives every instance, and the module."""
        try:
            self.module = build.module("keeper")
        except LabMissingError as error:
            raise UnmetNeedError(str(error)) from error
        if not isinstance(lab.platform, Modules):
            raise UnmetNeedError(f"{lab.platform.name} runs no modules")
        self.kernel = lab.platform.kernel
        self.folder = lab.folder / "kept"
        self.folder.mkdir()
        self.clients = [Client(lab, f"client-{n}", self.folder / "keeper.sock") for n in range(CLIENTS)]
        self.last = Client(lab, "last", self.folder / "keeper.sock")

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """One kind."""
        return [self.fault(self.kernel, self.folder)]

    async def run(self, lab: Lab) -> None:
        """Observe and serve until the schedule is over and every client has been answered since."""
        await lab.manager()
        policy = always(initial_delay=FIRST_DELAY, multiplier=2.0, max_delay=LONGEST_DELAY, stable_after=1.0)
        ready = {"kind": "notify", "timeout": 5.0}
        table = daemon(
            NAME, [str(self.module), str(self.folder)], restart=policy, readiness=ready, shutdown_timeout=5.0,
            resources={"memory_bytes": MEMORY}, logging={"destination": "file"},
        )  # fmt: skip
        await lab.register(table)
        watching = asyncio.create_task(self._watch(lab))
        try:
            await lab.start(NAME)
            await asyncio.gather(*(client.work(lambda: self._over(lab)) for client in self.clients))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, lab: Lab) -> None:
        """Note again and again who of that name runs, as the kernel says, until cancelled."""
        while True:
            try:
                listed = json.loads(await asyncio.to_thread(self.kernel.ctl, "ps", "--json"))["processes"]
            except LabError:
                listed = []  # it is being made to suffer
            lab.observe("instances", name=NAME, pids=[each["pid"] for each in listed if each["name"] == NAME])
            await asyncio.sleep(LOOK_EVERY)

    def _over(self, lab: Lab) -> bool:
        """Whether all is healed and every client has been answered since, or the time for that is over."""
        if not lab.nemesis.finished.is_set():
            return False
        healed = max((o.time for o in lab.history.operations if o.f == "heal"), default=0.0)
        answered = all(client.acknowledged_at > healed for client in self.clients)
        return answered or lab.history.now() > healed + BOUND + 1.0

    async def recover(self, lab: Lab) -> str:
        """It runs and answers; then it is stopped, and what it left on disk is looked at."""
        wrong = await not_running(lab, [NAME])
        if wrong:
            return wrong
        if not await self.last.put() or await self.last.read() is None:
            return "it does not answer"
        for client in (*self.clients, self.last):
            await client.close()
        await lab.stop(NAME)
        self._note_lives(lab)
        lab.observe("survivors", pids=[each for each in self.kernel.processes() if each == NAME])
        lab.observe("kept", values=(self.folder / "values").read_text().split())
        return ""

    def _note_lives(self, lab: Lab) -> None:
        """Each life as the module noted it; its end as the manager heard of it, which is later than it was."""
        ends = [o.time for o in observed(lab.history.operations, "event", name=NAME, kind="exited")]
        for line in lives(self.folder):
            if "begin" in line:
                began = lab.history.since_start(line["begin"])
                ended = min((at for at in ends if at > began), default=None)
                lab.observe("life", name=NAME, **{**line, "begin": began})
                lab.observe("generation", name=NAME, pid=line["pid"], began=began, ended=ended)


def checks(fault: str, *ends: str, at_once: bool) -> tuple[Checker, ...]:
    """Those of S041, but for what a process of this host would be needed for."""
    return (
        faults.took_effect(fault),
        service.no_acknowledged_write_lost(WRITES),
        identity.never_two_at_once(NAME, LOOKS),
        identity.one_generation_at_a_time(NAME),
        service.available_again_within(BOUND, at_once=(fault,) if at_once else ()),
        service.ends_only_by(NAME, "exit code 0", *ends),
        faults.recovered(),
        stops.stops_proven(),
        stops.nothing_left(),
        states.always_one_of_seven(),
        states.transitions_legal(),
    )
