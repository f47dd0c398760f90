"""Turns at an interval that does not drift."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator


class Turns:
    """Turns at whole intervals after the first: what one is late the next is not. Turns that were missed are counted, and not made up for."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.missed = 0
        """Turns that were left out because one before them, or the machine, took too long."""

    async def __aiter__(self) -> AsyncIterator[None]:
        """A turn now, and then one at every interval, without an end."""
        turn = time.monotonic()
        while True:
            yield
            turn += self.interval
            left = turn - time.monotonic()
            if left <= 0:
                behind = int(-left / self.interval) + 1
                self.missed += behind
                turn += behind * self.interval
                left = turn - time.monotonic()
            await asyncio.sleep(max(0.0, left))
