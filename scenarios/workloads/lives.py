"""Lives of a manager process that is asked to end while it starts its daemons."""

from __future__ import annotations

import signal
import time

from scenarios.drivers import Table
from scenarios.lab import Lab
from scenarios.look import command_line, until

END_WITHIN = 25.0
"""Seconds for the manager to end after TERM."""
SURVIVE_WITHIN = 1.0
"""Seconds for the last daemon to be gone after the manager, which proves that before it ends."""


async def interrupted(lab: Lab, tables: list[Table], *, present: int, delay: float) -> None:
    """Start a manager, send TERM once *present* daemons live and *delay* seconds are over; note what came."""
    driver = await lab.process(tables, connect=False)
    began = time.monotonic()
    await until(lambda: _count(lab) >= present and time.monotonic() - began >= delay, 30.0, step=0.002)
    begun = lab.history.invoke("operator", "terminate", {"present": _count(lab), "total": len(tables)})
    driver.signal(signal.SIGTERM)
    code = await driver.ended(END_WITHIN)
    facts = {**begun.value, "code": code}
    if code is None:
        lab.history.info(begun, facts)
    elif code in (0, -signal.SIGTERM):
        # TERM may come before Python has a handler: then the kernel ends it, and survivors would tell.
        lab.history.ok(begun, facts)
    else:
        lab.history.fail(begun, {**facts, "error": f"exit code {code}", "message": driver.log()[-500:]})
    await lab.survivors(SURVIVE_WITHIN)
    await lab.close()


def _count(lab: Lab) -> int:
    """Daemons that live: what is marked but for the manager and its helpers, which are called duende."""
    return sum("duende" not in " ".join(command_line(pid)) for pid in lab.reaper.survivors())
