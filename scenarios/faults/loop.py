"""A blocked event loop: somebody's slow call in the thread that must react."""

from __future__ import annotations

import asyncio
import time

from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError


class BlockedLoop(Fault):
    """Blocks the running loop for *seconds*, then it goes on by itself."""

    name = "blocked-loop"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Sleep without letting go of the thread; proven by a timer that comes late."""
        loop = asyncio.get_running_loop()
        fired: asyncio.Future[float] = loop.create_future()
        due = loop.time() + 0.001
        loop.call_at(due, lambda: fired.set_result(loop.time()))
        time.sleep(self._seconds)  # noqa: ASYNC251 - blocking the loop is the fault
        late = await fired - due
        if late < self._seconds * 0.9:
            raise NoEffectError(f"a timer was only {late:.3f} s late")
        return f"a timer was {late:.3f} s late"

    async def heal(self) -> str:
        """Nothing to do."""
        return "the loop runs"
