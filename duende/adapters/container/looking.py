"""Looking again, where nobody tells: at a container whose processes are not held here, and at a verdict that was not told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from duende.adapters.container.checks import Check
from duende.adapters.container.pausing import PROBED
from duende.adapters.container.records import Record
from duende.errors import DuendeError

UNWATCHED_EVERY = 1.0
"""Seconds between looks at a container without the kernel's word: in a virtual machine, or one whose process 1 was dead before it could be held."""


async def look_now_and_then(record: Record, settle: Callable[[Record], None]) -> None:
    """Have its end looked for until it is found or this is cancelled.

    Only the runtime's events tell of it, and they are not for sure: Podman 4.3 reports no end of a container that its service met when
    it had just come back.
    """
    while record.exit is None:
        await asyncio.sleep(UNWATCHED_EVERY)
        settle(record)


def doubt_after_pause(record: Record) -> float:
    """Seconds after a pause in which a failed verdict may be about the pause: its check had no time to pass since."""
    check = Check.from_json(record.handle.data.get(PROBED, ""))
    return check.retries * (check.interval + check.timeout) if check is not None else 0.0


async def judge_again(record: Record, tell: Callable[[Record, bool], None]) -> None:
    """It runs on after a pause in which its check failed, and a runtime tells only changes: look once its check had time to pass."""
    await asyncio.sleep(doubt_after_pause(record))
    if record.exit is None and record.ill and not record.paused:
        try:
            state = await record.engine.inspect(record.handle.instance)
        except DuendeError:
            return  # nobody says that it is ill
        if state.health == "unhealthy":
            tell(record, False)
