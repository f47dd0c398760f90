"""Servers of block devices that die, in a guest with a real driver: what becomes of the device, and of those who use it (`fixtures/ublk`)."""

from __future__ import annotations

import asyncio
import json
import time

from fixtures.ublk import blocks, lifecycle
from scenarios.lab import Lab
from scenarios.workloads.ublk import FOLLOW_EVERY, WithDriver

TARGET = "fixtures.ublk.kernel:Checks"
NAME = "servers"
DEATHS = (
    lifecycle.a_server_that_dies,
    lifecycle.a_server_that_dies_and_may_be_replaced,
    lifecycle.one_that_is_being_set_up,
    lifecycle.two_cleaners,
    lifecycle.no_driver,
    blocks.killed_in_the_rush,
    blocks.killed_in_the_rush_and_replaced,
    blocks.dies_between_add_and_start,
)
NAMES = tuple(each.__name__ for each in DEATHS)
WITHIN = 120.0
LINES = 400


class Deaths(WithDriver):
    """Each of them once, in one guest."""

    async def run(self, lab: Lab) -> None:
        """Until the guest has told of all, or for so long."""
        await lab.manager()
        await self.start(lab, TARGET, NAME, {"only": list(NAMES)})
        told: set[str] = set()
        deadline = time.monotonic() + WITHIN
        while "done" not in told and time.monotonic() < deadline:
            for line in await self.lines(lab, NAME, LINES):
                found = json.loads(line) if line.startswith("{") else {}
                what = str(found.get("what", ""))
                if what and what != "kernel" and what not in told:
                    told.add(what)
                    lab.observe(
                        "death", name=what, **{key: found.get(key) for key in ("why", "blocked", "told")}
                    )
            await asyncio.sleep(FOLLOW_EVERY)
        await lab.stop(NAME)
