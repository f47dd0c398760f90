"""Runs inside a mount namespace of its own, where it mounts a tmpfs of 3 MiB on the folder it is given; prints one JSON line.

A manager keeps its journal and the logs there, and a daemon its state; then the disk is filled.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from duende.config.model import RestartConfig, RestartPolicy  # noqa: E402
from duende.errors import DuendeError  # noqa: E402
from duende.kernel.process import send_signal  # noqa: E402
from duende.manager import DaemonManager  # noqa: E402
from duende.manager.journal import Journal  # noqa: E402
from duende.state import StateStore  # noqa: E402
from falsification.workbench import alive, daemon_class  # noqa: E402

SIZE = 3 << 20


def mount(folder: Path) -> None:
    """Mount the small file system; the namespace takes it along when it ends."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"small", str(folder).encode(), b"tmpfs", 0, f"size={SIZE},mode=700".encode()):
        raise OSError(ctypes.get_errno(), "cannot mount a tmpfs")


def fill(folder: Path) -> int:
    """Take all the room there is; how much that was."""
    taken = 0
    with open(folder / "filler", "wb", buffering=0) as file:
        for step in (65536, 4096, 1):
            try:
                for _ in range(SIZE // step + 1):
                    taken += file.write(bytes(step))
            except OSError:
                continue  # there is no room for a step of this size
    return taken


async def until(condition: Callable[[], bool], within: float = 8.0) -> bool:
    """Whether the condition came true in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def numbers(lines: list[str], word: str) -> list[int]:
    """The numbers of the lines that begin with *word*."""
    return [int(line.split()[1].rstrip(":")) for line in lines if line.startswith(word)]


async def main(folder: Path) -> dict[str, object]:
    """Run, fill, look, make room, look, kill, look."""
    small = folder / "small"
    mount(small)
    work = small / "work"
    work.mkdir()
    found: dict[str, object] = {}
    manager = DaemonManager(state_dir=str(small / "s"), runtime_dir=str(folder / "r"))
    await manager.open()
    quick = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.05)
    manager.register(daemon_class("Ledger", working_dir=str(work), restart=quick, settings={"size": 500}))
    await manager.start("ledger")
    pid = manager.status("ledger").pid
    log = small / "s" / "logs" / "ledger.log"

    def status() -> str:
        return manager.status("ledger").note or ""

    def lines() -> list[str]:
        return log.read_text(errors="replace").splitlines() if log.exists() else []

    found["began"] = await until(lambda: len(numbers(lines(), "wrote")) > 20)
    found["taken"] = fill(small)
    found["refused"] = await until(lambda: "refused" in status() and "errno 28" in status())
    found["said"] = status()
    manager.register(daemon_class("Waiter", "late"))
    try:
        await manager.start("late")
        found["late"] = "runs"
    except (DuendeError, OSError) as error:
        found["late"] = f"{type(error).__name__}: {error}"
    await until(lambda: bool(manager.journal.trouble), 5)
    found["alert"] = manager.journal.trouble
    found["alive"] = alive(pid) and manager.status("ledger").pid == pid
    (small / "filler").unlink()
    found["before"] = max(numbers(lines(), "wrote"), default=0)
    before = int(str(found["before"]))
    found["goes on"] = await until(lambda: max(numbers(lines(), "wrote"), default=0) > before + 5)
    found["cured"] = await until(lambda: not manager.journal.trouble, 10)
    found["damaged"] = [line for line in lines() if line.startswith("damaged")]
    # Killed on a full disk: what was promised is there, and nothing else.
    fill(small)
    await until(lambda: "refused" in status())
    send_signal(pid, 9)
    (small / "filler").unlink()
    found["again"] = await until(lambda: manager.status("ledger").pid not in (0, pid))
    await until(lambda: len(numbers(lines(), "found")) > 1)
    await manager.stop("ledger")
    promised = max(numbers(lines(), "wrote"))
    with StateStore(work / "state") as store:
        last = int(store["last"])
        found["missing"] = [n for n in range(1, last + 1) if len(store.get(f"note-{n}") or b"") != 500][:5]
        found["promised"], found["last"] = promised, last
        found["problems"] = list(store.recovered.problems)
    found["foreign"] = [line for line in lines() if line and not WHOLE.fullmatch(line)][:5]
    await manager.close()
    journal = Journal(str(small / "s"), dict)
    journal.load()
    found["known"], found["set aside"] = sorted(journal.entries), journal.set_aside
    return found


WHOLE = re.compile(
    r"found \d+ clean|wrote \d+|refused \d+: errno 28|\[duende: \d+ bytes of output were lost: .*\]"
)
"""Every line the daemon writes, and the one that tells of those that are lost."""


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))), flush=True)
