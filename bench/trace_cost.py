"""What tracing costs who is traced: `python -m bench.trace_cost [ROUNDS]`.

An HTTP server under load (Python's http.server), and dd with blocks of 64 bytes, which does nothing but system calls: with nobody looking, by duende
in the kernel, by `strace -c -f` and by `perf trace -s`, in turn. A table of the overhead, and bench/out/trace_cost.json.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.machine import report
from falsification.observability.test_tracer import ended
from falsification.observability.test_tracing_cost import Outside, fetch, started
from fixtures.programs import set_up

REQUESTS = 150
BLOCKS = 100_000
ATTACH_S = 1.0
"""Seconds that strace and perf get to attach: they do not say when they have."""
AIMS = {"HTTP server, duende": "< 5 %"}


@contextlib.contextmanager
def watched(line: list[str]) -> Iterator[None]:
    """A tracer of others, attached."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(ATTACH_S)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def ways(pid: int) -> dict[str, Callable[[], contextlib.AbstractContextManager[object]]]:
    """Name -> what attaches."""
    found: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
        "nobody": contextlib.nullcontext,
        "duende": lambda: Outside(pid, "tracefs"),
    }
    if shutil.which("strace"):
        found["strace -c -f"] = lambda: watched(["strace", "-c", "-f", "-p", str(pid)])
    if shutil.which("perf"):
        found["perf trace -s"] = lambda: watched(["perf", "trace", "-s", "-p", str(pid)])
    return found


def chosen(name: str, pid: int) -> contextlib.AbstractContextManager[object]:
    """What attaches to a process by that name."""
    return ways(pid)[name]()


def copying(attach: Callable[[int], contextlib.AbstractContextManager[object]]) -> float:
    """Seconds that dd took."""
    text = f"kill -STOP $$; exec dd if=/dev/zero of=/dev/null bs=64 count={BLOCKS} status=none"
    process = subprocess.Popen(["sh", "-c", text])
    try:
        deadline = time.monotonic() + 10
        while Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"T":
            if time.monotonic() > deadline:
                raise TimeoutError("dd did not begin")
            time.sleep(0.01)
        with attach(process.pid):
            began = time.perf_counter()
            process.send_signal(signal.SIGCONT)
            process.wait()
            return time.perf_counter() - began
    finally:
        ended(process)


def main(rounds: int) -> int:
    """Measure, print the table, write the JSON."""
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = set_up("http", Path(folder) / "http")
        process = started(server)
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    fetch(server.port, 1)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            fetch(server.port, REQUESTS)
            for _ in range(rounds):
                for name, attach in ways(process.pid).items():
                    with attach():
                        spent.setdefault(f"HTTP server, {name}", []).append(fetch(server.port, REQUESTS))
        finally:
            ended(process)
    for _ in range(max(1, rounds // 3)):
        for name in ways(0):
            spent.setdefault(f"dd bs=64, {name}", []).append(copying(partial(chosen, name)))
    print(f"{'':<32}{'p50, ms':>10}{'overhead, %':>14}  {'aim':>8}")
    samples = {}
    for what, values in spent.items():
        load = what.partition(",")[0]
        bare = spent[f"{load}, nobody"]
        overhead = statistics.median(one / other - 1 for one, other in zip(values, bare, strict=True)) * 100
        print(f"{what:<32}{statistics.median(values) * 1e3:>10.1f}{overhead:>14.1f}  {AIMS.get(what, ''):>8}")
        samples[what] = {"unit": "s", "values": values}
    report("trace_cost", rounds=rounds, samples=samples)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
