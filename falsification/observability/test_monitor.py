"""Attempts on the monitor: what it says of daemons that run, held against the kernel's own words read beside it."""

from __future__ import annotations

import asyncio
import os
import time
from itertools import pairwise
from pathlib import Path

from duende.adapters.contract import DaemonHandle
from duende.adapters.native.adapter import NativeAdapter
from duende.observe.monitor import DaemonMonitor
from falsification.kit import Trial, attempt
from falsification.workbench import adapter_for
from fixtures import limited

HOLDER = """
import sys, time
held = bytearray(b"x") * (int(sys.argv[1]) << 20)
print("holds", flush=True)
time.sleep(600)
"""
WORKER = """
import threading, time
share, threads = {share}, {threads}
def work():
    while True:
        began = time.monotonic()
        while time.monotonic() - began < share * 0.05: pass
        time.sleep((1 - share) * 0.05)
for _ in range(threads - 1):
    threading.Thread(target=work, daemon=True).start()
print("works", flush=True)
work()
"""


def status_rss(pid: int) -> int:
    """VmRSS of /proc/<pid>/status in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no VmRSS")


def stat_cpu(pid: int) -> float:
    """User and system time of /proc/<pid>/stat in seconds, and when."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def running(trial: Trial, handle: DaemonHandle, adapter: NativeAdapter, word: str) -> None:
    """Wait until a daemon says *word*."""
    line = await limited.said(adapter, handle)
    trial.check(line == word, f"it runs: {line!r}")


@attempt("F028", timeout=60, saboteurs=["memory-counts-pages-of-4000", "memory-is-of-the-first-sample"])
async def test_reported_memory_is_right(trial: Trial) -> None:
    """Of daemons that hold little and much, the memory reported is that of the kernel's status within one percent."""
    trial.situation("a daemon's memory was reported", at_least=12)
    adapter, monitor = await adapter_for(trial), DaemonMonitor()
    trial.defer(monitor.close)
    wrong: list[float] = []
    for mib in (1, 16, 128, 256):
        handle = await limited.launch(adapter, limited.program("holder", HOLDER, mib))
        monitor.watch(handle.name, handle.pid)
        await running(trial, handle, adapter, "holds")
        for _ in range(3):
            reported, real = monitor.collect()[handle.name].rss_bytes, status_rss(handle.pid)
            wrong.append(100 * abs(reported - real) / real)
            trial.reached("a daemon's memory was reported", real > mib << 20)
        await adapter.stop(handle, 5.0)
        monitor.forget(handle.name)
    trial.judge(wrong)


@attempt("F029", timeout=90, saboteurs=["cpu-leaves-out-the-system", "cpu-is-over-the-whole-life"])
async def test_reported_cpu_is_right(trial: Trial) -> None:
    """Of daemons at several loads, one of them by the system and one in threads, CPU is reported as /proc/<pid>/stat has it, within five percent."""
    trial.situation("a daemon's CPU time was reported", at_least=4)
    adapter, monitor = await adapter_for(trial), DaemonMonitor()
    trial.defer(monitor.close)
    wrong: list[float] = []
    codes = {
        "idle at first": "import time; print('works', flush=True); time.sleep(1)\nwhile True: pass",
        "a third": WORKER.format(share=0.33, threads=1),
        "in threads": WORKER.format(share=0.5, threads=3),
        "in the kernel": "import os; print('works', flush=True); fd = os.open('/dev/zero', 0)\nwhile True: os.read(fd, 1 << 20)",
    }
    for what, code in codes.items():
        handle = await limited.launch(adapter, limited.program("worker", code))
        monitor.watch(handle.name, handle.pid)
        await running(trial, handle, adapter, "works")
        await asyncio.sleep(1.2)
        monitor.collect()
        began, before = time.monotonic(), stat_cpu(handle.pid)
        await asyncio.sleep(2.0)
        reported = monitor.collect()[handle.name].cpu_percent
        real = 100 * (stat_cpu(handle.pid) - before) / (time.monotonic() - began)
        wrong.append(100 * abs(reported - real) / real)
        trial.reached("a daemon's CPU time was reported", real > 5)
        trial.log(f"{what}: {reported:.1f} % reported, {real:.1f} % by the kernel")
        await adapter.stop(handle, 5.0)
        monitor.forget(handle.name)
    trial.judge(wrong)


@attempt("F056", timeout=60, alone=True, saboteurs=["interval-drifts", "interval-is-stretched"])
async def test_the_interval_is_kept(trial: Trial) -> None:
    """At 100 ms every sample comes 100 ms after the one before, within ten percent, while a listener takes 20 ms of each turn; none is left out."""
    trial.situation("samples were taken at the interval", at_least=30)
    adapter = await adapter_for(trial)
    monitor = DaemonMonitor(interval=0.1)
    trial.defer(monitor.close)
    handle = await limited.launch(adapter, limited.program("holder", HOLDER, 1))
    monitor.watch("held", handle.pid)
    monitor.subscribe(lambda *_: time.sleep(0.02))  # a turn that costs something, as with a thousand daemons
    monitor.start()
    count = trial.rounds(normal=60, under_saboteur=32)
    await asyncio.sleep(0.1 * (count + 1))
    await monitor.stop()
    times = [reading.at for reading in monitor.history("held")]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for _ in gaps:
        trial.reached("samples were taken at the interval")
    trial.judge([100 * abs(gap - 0.1) / 0.1 for gap in gaps])
    drift = (times[-1] - times[0]) / len(gaps)
    trial.figure("interval over all", 1000 * drift, unit="ms")
    trial.check(abs(drift - 0.1) < 0.001, f"and it does not drift: {1000 * drift:.2f} ms")
    trial.check(monitor.missed == 0, f"no turn was left out: {monitor.missed}")
