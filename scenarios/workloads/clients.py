"""Clients: they keep asking for things, each one after the other, all of them side by side."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from scenarios.lab import Lab

Deed = Callable[[str, str], Awaitable[object]]
"""Does something to a daemon (first argument) as a client (second)."""


async def mixed(
    lab: Lab, client: str, names: Sequence[str], deeds: Sequence[Deed], count: int, pause: float
) -> None:
    """*count* deeds on random daemons, with random pauses of *pause* seconds in the mean."""
    source: random.Random = lab.rng(client)
    for _ in range(count):
        deed = source.choice(deeds)
        await deed(source.choice(names), client)
        await asyncio.sleep(source.uniform(0, 2 * pause))


async def asking(lab: Lab, name: str, *, every: float, client: str = "watcher") -> None:
    """Ask for the status of one daemon until cancelled."""
    while True:
        await lab.ask("status", by=client, name=name)
        await asyncio.sleep(every)


async def not_running(lab: Lab, names: Sequence[str]) -> str:
    """Which of *names* is not Running, in words; empty when all are."""
    for name in names:
        view = await lab.status(name, by="recovery")
        if not view or view["status"] != "Running":
            return f"{name} is {view['status'] if view else 'not known'}"
    return ""
