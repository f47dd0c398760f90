"""The inside of S030, a program: a life of a manager in a pid namespace, its death, a recycled pid, and its
next life.

`python -m scenarios.workloads.recycle init FOLDER` is pid 1 of the namespace: it starts the work and reaps
whatever comes to it. The work writes its history to FOLDER/inner.jsonl and prints the reading of the clock at
which that began.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from fixtures.daemons import command
from fixtures.lease import Reaper
from scenarios import look
from scenarios.drivers import OwnProcess
from scenarios.faults.pids import RecycledPid
from scenarios.lab import Lab
from scenarios.tables import always, daemon

MODULE = "scenarios.workloads.recycle"
NAME = "web"
CALM = 0.5
GONE_WITHIN = 10.0


def init(folder: str) -> int:
    """Be pid 1: start the work, reap everything, end with the work's exit code."""
    line = [sys.executable, "-m", MODULE, "work", folder]
    work = os.posix_spawn(line[0], line, dict(os.environ))
    while True:
        pid, status = os.wait()
        if pid == work:
            return os.waitstatus_to_exitcode(status) & 0x7F


async def work(lab: Lab) -> None:
    """First life, end of everything, stranger, second life."""
    mine, theirs = lab.report("mine"), lab.report("theirs")
    table = daemon(NAME, command("witness", mine), restart=always(), shutdown_timeout=0.5)
    driver = await lab.process([table])
    await look.until(lambda: bool(lab.reported("mine")), GONE_WITHIN)
    await lab.until_event(NAME, "running")
    view = await lab.status(NAME)
    old = int(view["pid"])
    await crash(lab, driver)
    recycled = RecycledPid(old, command("witness", theirs))
    if why := recycled.unsupported():
        raise RuntimeError(why)
    if not await lab.nemesis.strike(recycled):
        return
    await look.until(lambda: bool(lab.reported("theirs")), GONE_WITHIN)
    lab.observe("recycled", old=old, new=lab.reported("theirs")[0]["pid"])
    await lab.process([table])
    await look.until(lambda: len([r for r in lab.reported("mine") if "pid" in r]) == 2, GONE_WITHIN)
    await stranger(lab, old)
    await lab.signal(NAME, "USR1")
    await lab.restart(NAME)
    await stranger(lab, old)
    await lab.stop(NAME)
    await stranger(lab, old)
    await lab.close()
    lab.observe("stranger", **facts(lab, old, adopted=False))
    await lab.nemesis.heal(recycled)


async def crash(lab: Lab, driver: OwnProcess) -> None:
    """KILL the manager, its helpers and its daemon, as a crash of the machine would; wait until nothing is
    left.
    """
    for pid in [driver.process.pid if driver.process else 0, *lab.reaper.survivors()]:
        if pid > 1:
            try:
                held = look.Watched(pid)
            except ProcessLookupError:
                continue
            held.send(signal.SIGKILL)
            held.close()
    await look.until(lambda: not lab.reaper.survivors(), GONE_WITHIN)
    await lab.close()


async def stranger(lab: Lab, pid: int) -> None:
    """Look at the stranger, and whether the manager takes it for its daemon."""
    await asyncio.sleep(CALM)
    view = await lab.status(NAME)
    lab.observe("stranger", **facts(lab, pid, adopted=bool(view) and view["pid"] == pid))


def facts(lab: Lab, pid: int, *, adopted: bool) -> dict[str, object]:
    """What is known of the stranger."""
    signals = [line["signal"] for line in lab.reported("theirs") if "signal" in line]
    return {"signals": signals, "alive": look.alive(pid), "adopted": adopted}


async def _work(folder: Path) -> None:
    with Reaper() as reaper:
        lab = Lab(folder, 0, reaper)
        print(lab.history.zero, flush=True)
        try:
            await work(lab)
        finally:
            await lab.nemesis.heal_all()
            await lab.close()
            lab.history.write(folder / "inner.jsonl")


if __name__ == "__main__":
    if sys.argv[1] == "init":
        sys.exit(init(sys.argv[2]))
    asyncio.run(_work(Path(sys.argv[2])))
