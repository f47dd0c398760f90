"""The same load on the same swap device in two guests: in one the memory of the daemon that serves it is locked, in the other it is not."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from scenarios.lab import Lab
from scenarios.workloads.ublk import FOLLOW_EVERY, WithDriver

TARGET = "fixtures.ublk.swapping:Swapping"
HALVES = {"unlocked": False, "locked": True}
SWAP, LOAD = 192, 300
"""MiB: of the swap device (in the daemon's memory, all of it there from the beginning), and of the load."""
STALL = 15.0
"""Seconds without any progress that are a deadlock: the whole load takes 10 where there is none."""
WITHIN = 90.0
LINES = 4000


class Swapping(WithDriver):
    """Each half in a guest of its own, one after the other."""

    async def setup(self, lab: Lab) -> None:
        """The driver, and nobody has ended."""
        await super().setup(lab)
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
        await self.start(lab, TARGET, half, settings)
        seen, heard = 0, time.monotonic()
        deadline = heard + WITHIN + 2 * STALL
        while time.monotonic() < deadline and half not in self.ended:
            said = await self.lines(lab, half, LINES)
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
