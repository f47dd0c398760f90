"""Servers of block devices that die, in a guest with a real driver: what becomes of the device, and of those who use it (`fixtures/ublk`)."""

from __future__ import annotations

import asyncio
import json
import time

from fixtures.pepita import build
from fixtures.ublk import blocks, lifecycle
from fixtures.ublk.inside import MODULES
from scenarios.lab import Lab
from scenarios.scenario import UnmetNeedError, Workload
from scenarios.tables import daemon_class

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
MEMORY = 512
WITHIN = 120.0
LINES = 400
FOLLOW_EVERY = 0.3


class Deaths(Workload):
    """Each of them once, in one guest."""

    async def setup(self, lab: Lab) -> None:
        """The driver, as a module for the guest's kernel."""
        module = build.module("ublk_drv")
        if module is None:
            raise UnmetNeedError("the guest's kernel has no ublk driver")
        self.modules = module.parent

    async def run(self, lab: Lab) -> None:
        """Until the guest has told of all, or for so long."""
        await lab.manager()
        table = daemon_class(TARGET, NAME, settings={"only": list(NAMES)}, shutdown_timeout=5.0)
        del table["logging"]
        table["resources"] = {"memory_bytes": MEMORY << 20}
        table["platform"] = {
            "pepita": {"memory_mb": MEMORY, "vcpus": 2, "files": [f"{self.modules}:{MODULES}"]}
        }
        await lab.register(table)
        await lab.start(NAME)
        told: set[str] = set()
        deadline = time.monotonic() + WITHIN
        while "done" not in told and time.monotonic() < deadline:
            said = await lab.driver.ask("logs", name=NAME, lines=LINES) if lab.driver is not None else []
            for line in said:
                found = json.loads(line) if line.startswith("{") else {}
                what = str(found.get("what", ""))
                if what and what != "kernel" and what not in told:
                    told.add(what)
                    lab.observe(
                        "death", name=what, **{key: found.get(key) for key in ("why", "blocked", "told")}
                    )
            await asyncio.sleep(FOLLOW_EVERY)
        await lab.stop(NAME)
