"""Running asynchronous tests: every one has a deadline, and leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

DEADLINE = 30.0


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* in a fresh loop within the deadline."""

    async def bounded() -> Any:
        async with asyncio.timeout(DEADLINE):
            return await work

    return asyncio.run(bounded())


async def until(condition: Callable[[], object], within: float = 10.0) -> Any:
    """Let the loop turn until *condition* is true; its value."""
    async with asyncio.timeout(within):
        while not (value := condition()):
            await asyncio.sleep(0.001)
        return value
