"""What it costs to look at daemons: `python -m bench.observe_cost [ROUNDS]`.

One sample of stat, statm and io of a process, parsed, through kept descriptors, beside opening and closing the files each time and psutil, in turn over
the same thousand processes; a push into a ring; the metrics of a thousand daemons. A table, and bench/out/observe_cost.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from bench.build import compiled
from bench.machine import told
from duende.manager.metrics import families_of
from duende.manager.view import DaemonView
from duende.observe.exposition import prometheus
from duende.observe.procfs import ProcessReader, parse_io, parse_stat, parse_statm
from duende.observe.ring import RingBuffer
from duende.states import DaemonStatus, Phase

PROCESSES = 1000
PUSHES = 1_000_000
AIMS = {
    "sample, kept descriptors": "< 20 us",
    "a push into a full ring": "< 1 us",
    "metrics of 1000 daemons": "< 20 ms",
}


def opened(pid: int) -> int:
    """The same three files, opened and closed."""
    for name, parse in (("stat", parse_stat), ("statm", parse_statm), ("io", parse_io)):
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        parse(os.read(fd, 4096))
        os.close(fd)
    return pid


def by_psutil(process: psutil.Process) -> int:
    """The same figures by psutil."""
    with process.oneshot():
        process.cpu_times()
        process.memory_info()
        process.num_threads()
        process.status()
    process.io_counters()
    return int(process.pid)


def views(count: int) -> list[DaemonView]:
    """Daemons as a manager has them."""
    return [
        DaemonView(
            name=f"daemon-{number}", daemon_id=str(number), status=DaemonStatus(Phase.RUNNING), pid=number + 2, restarts=0, wanted="up", since=1.0,
            next_restart_in=None, last_exit=None, health=None, note="", version="0.1.0", description="",
        )
        for number in range(count)
    ]  # fmt: skip


def pushed(ring: RingBuffer) -> None:
    """A million samples."""
    push, at = ring.push, ring[-1][0] if len(ring) else 0.0
    for _ in range(PUSHES):
        push(at, 1.0)


def taken(turn: Callable[[], object]) -> float:
    """Seconds of one turn."""
    began = time.perf_counter()
    turn()
    return time.perf_counter() - began


def measured(rounds: int) -> dict[str, tuple[str, list[float]]]:
    """What -> (unit, samples)."""
    program = str(compiled("tiny"))
    children = [subprocess.Popen([program], stdin=subprocess.DEVNULL) for _ in range(PROCESSES)]
    readers: list[ProcessReader] = []
    found: dict[str, tuple[str, list[float]]] = {}

    def note(what: str, unit: str, value: float) -> None:
        found.setdefault(what, (unit, []))[1].append(value)

    try:
        readers = [ProcessReader(child.pid) for child in children]
        known = [psutil.Process(child.pid) for child in children]
        for _ in range(rounds):
            micro = 1e6 / PROCESSES
            note(
                "sample, kept descriptors",
                "us",
                micro * taken(lambda: [reader.sample() for reader in readers]),
            )
            note(
                "sample, open, read, close",
                "us",
                micro * taken(lambda: [opened(child.pid) for child in children]),
            )
            note("sample, psutil", "us", micro * taken(lambda: [by_psutil(process) for process in known]))
    finally:
        for reader in readers:
            reader.close()
        for child in children:
            child.kill()
        for child in children:
            child.wait()
    ring, daemons = RingBuffer(8192), views(1000)
    pushed(ring)
    for _ in range(max(1, rounds // 5)):
        note("a push into a full ring", "us", 1e6 / PUSHES * taken(lambda: pushed(ring)))
    for _ in range(rounds):
        note("metrics of 1000 daemons", "ms", 1e3 * taken(lambda: prometheus(families_of(daemons))))
    return found


def main(rounds: int) -> int:
    """Measure, print the table, write the JSON."""
    told("observe_cost", measured(rounds), AIMS, rounds=rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
