"""What the tests of the container adapter share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from duende.adapters.container.adapter import ContainerAdapter
from duende.adapters.contract import (
    AdapterEvent,
    SpawnRequest,
)
from falsification.units.adapters.container.fake_runtime import FakeRuntime
from falsification.units.support import config, run

TIMEOUT = 0.4
"""Of one call; starts have three times that."""
ID = "0b7a3c52-0000-4000-8000-000000000001"
Body = Callable[[FakeRuntime, ContainerAdapter, list[AdapterEvent]], Awaitable[None]]


def with_fake(folder: Path, body: Body, **options: Any) -> None:
    """Run *body* with a fake runtime, an adapter on it, and the adapter's events."""

    async def whole() -> None:
        async with FakeRuntime(str(folder / "d.sock")) as fake:
            given = {
                "runtime": "docker",
                "socket": fake.path,
                "image": "busybox:1",
                "timeout": TIMEOUT,
                **options,
            }
            adapter = ContainerAdapter(
                runtime_dir=str(folder / "run"), state_dir=str(folder / "state"), **given
            )
            events: list[AdapterEvent] = []
            adapter.subscribe(events.append)
            try:
                await body(fake, adapter, events)
            finally:
                fake.mode = "normal"
                fake.modes.clear()
                await adapter.close()

    run(whole())


def request(**fields: Any) -> SpawnRequest:
    """A start of a program."""
    return SpawnRequest(daemon_id=ID, config=config(**fields))


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until *condition* holds; the test's deadline is above it."""
    while not condition():
        await asyncio.sleep(0.005)
