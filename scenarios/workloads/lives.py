"""Lives of a manager process that is asked to end while it starts its daemons."""

from __future__ import annotations

import signal
import time

from scenarios.drivers import OwnProcess, Table
from scenarios.lab import Lab
from scenarios.look import until

END_WITHIN = 25.0
"""Seconds for the manager to end after TERM."""
SURVIVE_WITHIN = 1.0
"""Seconds for the last daemon to be gone after the manager: it proves that before it ends, so none are needed."""


async def interrupted(lab: Lab, tables: list[Table], *, present: int, delay: float) -> None:
    """Start a manager, send TERM when *present* daemons live and *delay* seconds have passed, note what came of it."""
    driver = await lab.process(tables, connect=False)
    began = time.monotonic()
    await until(lambda: _count(lab, driver) >= present and time.monotonic() - began >= delay, 30.0, step=0.002)
    begun = lab.history.invoke("operator", "terminate", {"present": _count(lab, driver), "total": len(tables)})
    driver.signal(signal.SIGTERM)
    code = await driver.ended(END_WITHIN)
    facts = {**begun.value, "code": code}
    if code is None:
        lab.history.info(begun, facts)
    elif code == 0:
        lab.history.ok(begun, facts)
    else:
        lab.history.fail(begun, {**facts, "error": f"exit code {code}", "message": driver.log()[-500:]})
    await lab.survivors(SURVIVE_WITHIN)
    await lab.close()


def _count(lab: Lab, driver: OwnProcess) -> int:
    manager = driver.process.pid if driver.process is not None else 0
    return sum(pid != manager for pid in lab.reaper.survivors())
