"""A runtime's API that hangs, answers garbage, is slow or hangs up: done by a proxy in front of it, and proven by a question through that."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

from fixtures.between import Between, Mood
from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError

ASK_WITHIN = 0.15
"""Seconds for the proxy to pass a question on and bring the answer; it takes some milliseconds."""
COUNTED = {Mood.HANG: "withheld", Mood.GARBAGE: "replaced", Mood.SLOW: "delayed", Mood.RESET: "cut"}


class BadApi(Fault):
    """Puts the proxy into a mood; healed by a fair one. Who asks is told nothing but what its callers would be told.

    The proxy lives in this process, and its folder is leased: nothing is left of it when the process is killed.
    """

    def __init__(self, between: Between, mood: Mood, question: bytes) -> None:
        self.name = f"api-{mood.value}"
        self._between = between
        self._mood = mood
        self._question = question

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Change the mood; proven by the bytes it withheld, replaced or delayed, or the connections it cut."""
        if self._between.mood is not Mood.FAIR:
            raise NoEffectError(f"it is in the mood {self._between.mood.value} already")
        before = replace(self._between.done)
        fair = await self._ask()
        self._between.be(self._mood)
        got = await self._ask()
        counted = COUNTED[self._mood]
        done = asdict(self._between.done)[counted] - asdict(before)[counted]
        if not fair or not done or got == fair:
            raise NoEffectError(f"{counted} {done}; a question was answered by {got!r}, before by {fair!r}")
        what = "nothing" if not got else f"{len(got)} other bytes"
        return f"{counted} {done}; a question was answered by {what} within {ASK_WITHIN:g} s"

    async def heal(self) -> str:
        """Be fair; what was withheld goes on."""
        self._between.be(Mood.FAIR)
        return self._between.done.words()

    async def _ask(self) -> bytes:
        """What comes back within the time, empty when nothing does."""
        answer = b""
        try:
            async with asyncio.timeout(ASK_WITHIN):
                reader, writer = await asyncio.open_unix_connection(str(self._between.socket))
                try:
                    writer.write(self._question)
                    answer = await reader.read(4096)
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError):
            return b""
        return answer
