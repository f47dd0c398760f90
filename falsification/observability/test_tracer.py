"""Attempts on the tracer: what it costs, where in the source it says a call comes from, and what it notices, on programs that really run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from duende.kernel.syscalls import X86_64
from duende.observe.trace import Tracer, attach
from duende.observe.trace.pictures import flame_graph, heat_map
from duende.observe.trace.source import sites
from duende.observe.trace.tracer import TracedAnomaly
from falsification.kit import Trial, attempt

MARK = "HERE"
"""Stands as a comment in the lines that make the call."""

NATIVE = """
#include <time.h>
#include <unistd.h>
static int written;
static void inner(void)
{
    written += write(1, "x", 1); /* HERE */
}
static void outer(void)
{
    inner();
}
int main(void)
{
    for (;;) {
        struct timespec pause = {0, 5000000};
        outer();
        nanosleep(&pause, 0);
    }
}
"""
INTERPRETED = """
import os, threading, time

def inner(out):
    if out:
        os.write(out, b"x")  # HERE

def outer():
    inner(1)

def idle():
    while True:
        time.sleep(0.01)

threading.Thread(target=idle, daemon=True).start()
while True:
    outer()
    time.sleep(0.005)
"""
LOOPS = """
import os, sys
for line in sys.stdin:
    for _ in range(int(line)):
        os.getppid()
    os.getpid()
    print("done", flush=True)
"""
READER = """
import sys
while sys.stdin.buffer.raw.read(1):
    pass
"""


def ended(process: subprocess.Popen[bytes]) -> None:
    """End it, whatever it does."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def program(trial: Trial, *line: str) -> subprocess.Popen[bytes]:
    """A program with pipes, ended with the trial."""
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    trial.defer(ended, process)
    return process


def interpreter(trial: Trial, text: str) -> subprocess.Popen[bytes]:
    """The same, of Python source."""
    return program(trial, sys.executable, "-c", text)


# -- F042 ------------------------------------------------------------------------------------------------------


def marked(path: Path) -> int:
    """The line that has the mark."""
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if MARK in line)


@attempt(
    "F042",
    timeout=60,
    needs=["gcc"],
    saboteurs=["lines-are-those-behind-the-call", "the-outermost-frame-is-told"],
)
async def test_source_correlation_is_exact(trial: Trial) -> None:
    """Of a C program without and with optimisation, which puts one function into another, and of a Python program with a second thread."""
    native = trial.tmp / "native.c"
    native.write_text(NATIVE)
    script = trial.tmp / "interpreted.py"
    script.write_text(INTERPRETED)
    programs = [(script, [sys.executable, str(script)])]
    for level in ("-O0", "-O2"):
        made = trial.tmp / f"native{level}"
        subprocess.run(["gcc", "-g", level, "-o", str(made), str(native)], check=True)
        programs.append((native, [str(made)]))
    for source, line in programs:
        process = program(trial, *line)
        out = process.stdout
        assert out is not None
        await asyncio.to_thread(out.read, 3)  # it runs: its own calls have been made
        drain = asyncio.create_task(asyncio.to_thread(_drain, out.fileno()))
        found = await asyncio.to_thread(sites, process.pid, 4.0, [X86_64["write"]], 5)
        trial.check(process.poll() is None, f"{line[-1]} goes on")
        status = Path(f"/proc/{process.pid}/status").read_text()
        trial.check("TracerPid:\t0" in status, "and nobody is attached to it")
        ended(process) if process.stdin is None else process.kill()
        await drain
        trial.reached("calls were looked at", sum(site.count for site in found))
        trial.check(bool(found), f"calls of {line[-1]} were seen")
        real = (str(source), marked(source))
        for site in found:
            place = site.place
            told = (place.file, place.line) if place is not None else None
            trial.check(told == real, f"{Path(line[-1]).name}: {told} is {real}")
        trial.log(f"{Path(line[-1]).name}: {found[0]}")
        trial.attach(f"{Path(line[-1]).name}-flame.svg", flame_graph(found), "image/svg+xml")


def _drain(fd: int) -> None:
    while True:
        try:
            if not os.read(fd, 65536):
                return
        except OSError:
            return


# -- F043, F046 ------------------------------------------------------------------------------------------------


@attempt("F043", timeout=60, needs=["root"], saboteurs=["spikes-are-told-late", "spikes-join-their-window"])
async def test_latency_spikes_are_noticed(trial: Trial) -> None:
    """A daemon that reads from a peer which answers every 4 ms, and now and then after ten times that."""
    process = interpreter(trial, READER)
    feed = process.stdin
    assert feed is not None
    flagged: list[TracedAnomaly] = []
    tracer: Tracer = await asyncio.to_thread(attach, process.pid, on_anomaly=flagged.append)
    trial.defer(tracer.detach)
    took = []

    async def answer(after: float) -> float:
        await asyncio.sleep(after)
        os.write(feed.fileno(), b"x")
        return time.monotonic()

    for _ in range(150):
        await answer(0.004)
    before = len(flagged)
    for _ in range(trial.rounds(5, 3)):
        spiked = await answer(0.04)

        def found(since: float = spiked) -> TracedAnomaly | None:
            return next(
                (
                    each
                    for each in flagged
                    if each.call == "read"
                    and each.anomaly.value > 0.03
                    and abs(each.anomaly.at - since) < 0.02
                ),
                None,
            )

        deadline = time.monotonic() + 3
        while (noticed := found()) is None and time.monotonic() < deadline:
            await answer(0.004)
        trial.check(noticed is not None, "a call of ten times the latency is flagged")
        if noticed is not None:
            took.append(noticed.noticed - spiked)
            trial.reached("a read took ten times as long")
        for _ in range(110):  # the spike leaves the window
            await answer(0.004)
    trial.attach(
        "heat.svg", heat_map(tracer.report(), "How long a daemon's calls took, with spikes"), "image/svg+xml"
    )
    trial.figure("false alarms in 150 calls before the first spike", float(before), unit="alarms")
    trial.judge(took)


@attempt(
    "F046",
    timeout=60,
    needs=["root"],
    saboteurs=["loops-are-tight-at-999", "loops-are-tight-at-1001", "other-calls-do-not-end-a-loop"],
)
async def test_tight_loops_are_flagged(trial: Trial) -> None:
    """A program that makes the same call 999 times in a row, 1000 times, twice 600 with another between, and 2500 times."""
    process = interpreter(trial, LOOPS)
    assert process.stdin is not None
    assert process.stdout is not None
    for counts, expected in (([999], 0), ([1000], 1), ([600, 600], 0), ([2500], 1), ([999, 1000], 1)):
        tracer = await asyncio.to_thread(attach, process.pid)
        for count in counts:
            process.stdin.write(f"{count}\n".encode())
            process.stdin.flush()
            await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 10)
        report = await asyncio.to_thread(tracer.detach)
        loops = [each for each in report.patterns if each.kind == "tight-loop" and each.call == "getppid"]
        seen = next((each.count for each in report.latencies if each.name == "getppid"), 0)
        trial.check(report.lost == 0 and seen == sum(counts), f"all {sum(counts)} calls are seen, not {seen}")
        trial.check(
            len(loops) == expected, f"{counts} in a row make {expected} tight loops, not {len(loops)}"
        )
        trial.reached("the same call was made in a row")
