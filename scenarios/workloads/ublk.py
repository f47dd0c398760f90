"""Daemons in a guest whose kernel has the ublk driver, as a module that is brought along."""

from __future__ import annotations

from typing import Any

from fixtures.pepita import build
from fixtures.ublk.inside import MODULES
from scenarios.lab import Lab
from scenarios.scenario import UnmetNeedError, Workload
from scenarios.tables import daemon_class

MEMORY = 512
"""MiB of the guest."""
FOLLOW_EVERY = 0.3


class WithDriver(Workload):
    """Has the driver, and reads what its daemons say."""

    async def setup(self, lab: Lab) -> None:
        """The driver, as a module for the guest's kernel."""
        module = build.module("ublk_drv")
        if module is None:
            raise UnmetNeedError("the guest's kernel has no ublk driver")
        self.modules = module.parent

    async def start(self, lab: Lab, target: str, name: str, settings: dict[str, Any]) -> None:
        """Start a daemon in a guest of its own, with a log."""
        table = daemon_class(target, name, settings=settings, shutdown_timeout=5.0)
        del table["logging"]
        table["resources"] = {"memory_bytes": MEMORY << 20, "memory_swap_bytes": 2 * MEMORY << 20}
        table["platform"] = {
            "pepita": {"memory_mb": MEMORY, "vcpus": 2, "files": [f"{self.modules}:{MODULES}"]}
        }
        await lab.register(table)
        await lab.start(name)

    async def lines(self, lab: Lab, name: str, most: int) -> list[str]:
        """What it has said so far, the last *most* of it."""
        said: list[str] = (
            await lab.driver.ask("logs", name=name, lines=most) if lab.driver is not None else []
        )
        return said
