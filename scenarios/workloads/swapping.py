"""The same load on the same swap device in two guests: in one the memory of the daemon that serves it is locked, in the other it is not."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from fixtures.pepita import build
from fixtures.ublk.inside import MODULES
from scenarios.lab import Lab
from scenarios.scenario import UnmetNeedError, Workload
from scenarios.tables import daemon_class

TARGET = "fixtures.ublk.swapping:Swapping"
HALVES = {"unlocked": False, "locked": True}
MEMORY, SWAP, LOAD = 512, 192, 300
"""MiB: of the guest, of the swap device (in the daemon's memory, all of it there from the beginning), and of the load."""
STALL = 15.0
"""Seconds without any progress that are a deadlock: the whole load takes 10 where there is none."""
WITHIN = 90.0
LINES = 4000
FOLLOW_EVERY = 0.3


class Swapping(Workload):
    """Each half in a guest of its own, one after the other."""

    async def setup(self, lab: Lab) -> None:
        """The driver, as a module for the guest's kernel."""
        module = build.module("ublk_drv")
        if module is None:
            raise UnmetNeedError("the guest's kernel has no ublk driver")
        self.modules = module.parent
        self.ended: set[str] = set()

    async def run(self, lab: Lab) -> None:
        """Both halves."""
        await lab.manager()
        for half, locked in HALVES.items():
            await self.half(lab, half, locked)

    async def half(self, lab: Lab, half: str, locked: bool) -> None:
        """One of them, until it has ended or is stuck."""
        settings = {
            "locked": locked,
            "swap": SWAP,
            "load": LOAD,
            "seed": lab.seed,
            "stall": STALL,
            "within": WITHIN,
        }
        table = daemon_class(TARGET, half, settings=settings, shutdown_timeout=5.0)
        del table["logging"]
        table["resources"] = {"memory_bytes": MEMORY << 20, "memory_swap_bytes": 2 * MEMORY << 20}
        table["platform"] = {
            "pepita": {"memory_mb": MEMORY, "vcpus": 2, "files": [f"{self.modules}:{MODULES}"]}
        }
        await lab.register(table)
        await lab.start(half)
        seen, heard = 0, time.monotonic()
        deadline = heard + WITHIN + 2 * STALL
        while time.monotonic() < deadline and half not in self.ended:
            said = await lab.driver.ask("logs", name=half, lines=LINES) if lab.driver is not None else []
            for line in said[seen:]:
                self.tell(lab, half, line)
                heard = time.monotonic()
            seen = len(said)
            if time.monotonic() - heard > 2 * STALL:
                lab.observe("swap-silent", half=half, seconds=time.monotonic() - heard)
                break
            await asyncio.sleep(FOLLOW_EVERY)
        await lab.stop(half)

    def tell(self, lab: Lab, half: str, line: str) -> None:
        """Note what the guest said."""
        try:
            said: dict[str, Any] = json.loads(line)
            what = said.pop("what")
        except (ValueError, KeyError, AttributeError):
            return  # of the daemon's own output, and no look
        if what in ("end", "failed"):
            self.ended.add(half)
        lab.observe(f"swap-{what}", half=half, **said)
