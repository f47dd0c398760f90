"""Ill health: the check of a daemon fails, or does not come back, until the daemon is started again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError
from scenarios.look import until

WELL, ILL, STUCK = "well", "ill", "stuck"
CHECK_WITHIN = 0.5
"""Seconds for the check to answer when it is asked for the proof."""


def check(mood: Path) -> list[str]:
    """The health check of a daemon whose *mood* is in that file: it passes, fails, or hangs."""
    return ["/bin/sh", "-c", f"case $(cat {mood}) in {WELL}) exit 0;; {STUCK}) sleep 60;; *) exit 1;; esac"]


class IllHealth(Fault):
    """Changes the mood of a daemon that is cured by a restart; what heals it is whoever restarts it."""

    def __init__(self, mood: Path, kind: str, within: float) -> None:
        self.name = kind
        self._mood = mood
        self._within = within

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Be ill; proven by the check itself, run beside the daemon."""
        self._mood.write_text(self.name)
        process = await asyncio.create_subprocess_exec(*check(self._mood))
        try:
            async with asyncio.timeout(CHECK_WITHIN):
                code: int | None = await process.wait()
        except TimeoutError:
            code = None
            process.kill()
            await process.wait()
        if code == 0:
            raise NoEffectError("its check passes")
        return "its check hangs" if code is None else f"its check fails with {code}"

    async def heal(self) -> str:
        """Wait for the cure; where it does not come, it is well all the same."""
        if await until(lambda: self._mood.read_text() == WELL, self._within):
            return "it was cured"
        self._mood.write_text(WELL)
        return f"nobody cured it within {self._within:g} s"
