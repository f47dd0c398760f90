"""What the unit tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from duende import Daemon, DaemonConfig, DaemonContext, ExitReason

DEADLINE = 20.0
"""Seconds after which a test that waits has failed, whatever it waits for."""
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], within: float = DEADLINE) -> T:
    """Run *work* in a loop of its own, within the deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(within):
            return await work

    return asyncio.run(bounded())


def config(**fields: Any) -> DaemonConfig:
    """A configuration that is right but for what a test changes."""
    return DaemonConfig(**{"name": "web", "binary_path": "/bin/true", **fields})


class Obedient(Daemon):
    """Does what it is told: runs until it is asked to end."""

    name = "obedient"

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Wait for shutdown."""
        await ctx.wait_shutdown()
        return ExitReason.graceful()
