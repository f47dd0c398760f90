"""The keeper (`fixtures/keeper.py`) in a microVM: its values on a disk that outlives the VM, its socket led out to clients here."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from fixtures import keeper
from scenarios.faults.base import Awaited, Fault
from scenarios.lab import Lab
from scenarios.scenario import Pace, Workload
from scenarios.tables import always, daemon_class
from scenarios.workloads.clients import not_running
from scenarios.workloads.keeping import Client, count, holders

NAME = "keeper"
TARGET = f"{Path(keeper.__file__).resolve()}:Keeper"
KEPT = "/kept"
"""Where the disk is in the guest."""
CLIENTS = 3
FOLLOW_EVERY = 0.1
FIRST_DELAY, LONGEST_DELAY = 0.2, 1.0
START_WITHIN = 12.0
"""Seconds from a start to the first answer: a guest, an interpreter, the class and what it imports, under software emulation."""
BOUND = LONGEST_DELAY + START_WITHIN


class InGuest(Workload):
    """Clients put and read while the nemesis strikes, until each was answered again."""

    pace = Pace(count=2, first=5.0, gap=7.0, hold=0.2)

    async def setup(self, lab: Lab) -> None:
        """A disk that outlives every VM, and the way to the keeper."""
        self.disk = lab.folder / "kept.img"
        self.socket = lab.folder / "keeper.sock"
        self.clients = [Client(lab, f"client-{n}", self.socket) for n in range(CLIENTS)]
        self.last = Client(lab, "last", self.socket)

    @abstractmethod
    def strikes(self, lab: Lab) -> Fault:
        """What is done to the VM."""

    def machines(self) -> list[int]:
        """Processes of VMs that have the disk."""
        return holders(self.disk)

    def faults(self, lab: Lab) -> Sequence[Fault]:
        """The one fault, twice."""
        return [Awaited(self.strikes(lab), self.machines, START_WITHIN) for _ in range(self.pace.count)]

    async def run(self, lab: Lab) -> None:
        """Serve until the schedule is over and every client has been answered since."""
        await lab.manager()
        policy = always(initial_delay=FIRST_DELAY, multiplier=2.0, max_delay=LONGEST_DELAY, stable_after=2.0)
        table = daemon_class(
            TARGET,
            NAME,
            restart=policy,
            settings={"folder": KEPT},
            shutdown_timeout=5.0,
            resources={"pids_max": 50},
        )
        table["platform"] = {
            "pepita": {
                "memory_mb": 256,
                "disks": [f"{self.disk}:{KEPT}"],
                "forward": [f"{self.socket}:{KEPT}/keeper.sock"],
            }
        }
        await lab.register(table)
        watching = [
            asyncio.create_task(count(lab, NAME, self.disk)),
            asyncio.create_task(self.follow(lab)),
        ]
        try:
            await lab.start(NAME)
            await asyncio.gather(*(client.work(lambda: self._over(lab)) for client in self.clients))
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def follow(self, lab: Lab) -> None:
        """Note each VM that takes the disk as a life of the keeper, until cancelled: QEMU locks the image, so a second one cannot."""
        seen: set[int] = set()
        while True:
            for pid in set(await asyncio.to_thread(self.machines)) - seen:
                seen.add(pid)
                life = {"pid": pid, "born": pid, "boot": "", "space": "", "clash": False}
                lab.observe("life", name=NAME, begin=lab.history.now(), **life)
            await asyncio.sleep(FOLLOW_EVERY)

    def _over(self, lab: Lab) -> bool:
        if not lab.nemesis.finished.is_set():
            return False
        healed = max((o.time for o in lab.history.operations if o.f == "heal"), default=0.0)
        answered = all(client.acknowledged_at > healed for client in self.clients)
        return answered or lab.history.now() > healed + BOUND + 1.0

    async def recover(self, lab: Lab) -> str:
        """It runs and answers; what it has kept is read, then it is stopped."""
        wrong = await not_running(lab, [NAME])
        if wrong:
            return wrong
        kept = await self.last.read() if await self.last.put() else None
        if kept is None:
            return f"{NAME} does not answer"
        lab.observe("kept", values=kept)
        for client in (*self.clients, self.last):
            await client.close()
        await lab.stop(NAME)
        lab.observe("survivors", pids=self.machines())
        return ""
