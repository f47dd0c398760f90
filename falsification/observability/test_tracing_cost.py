"""The attempt on what tracing costs: a server under load, and a program that does nothing but system calls."""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from falsification.kit import Trial, attempt
from falsification.observability.test_tracer import ended
from fixtures.programs import Program, set_up

REQUESTS = 200
BURSTS = 10
CALLS = 60_000
"""Of dd with blocks of 64 bytes: two system calls each."""

TRACE = """
import sys
from duende.observe.trace import attach
tracer = attach(int(sys.argv[1]), method=sys.argv[2], background=True)
print("attached", flush=True)
sys.stdin.readline()
report = tracer.detach()
print(report.method, report.calls, report.lost, flush=True)
"""


class Outside:
    """A tracer in a process of its own, as the command is one."""

    def __init__(self, pid: int, method: str) -> None:
        line = [sys.executable, "-c", TRACE, str(pid), method]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.calls = self.lost = 0

    def __enter__(self) -> Outside:  # noqa: PYI034 - no subclasses
        """Wait until it has attached."""
        out = self.process.stdout
        if out is None or out.readline() != b"attached\n":
            raise RuntimeError("the tracer did not attach")
        return self

    def __exit__(self, *_: object) -> None:
        """Detach."""
        told, _unused = self.process.communicate(b"\n", 30)
        _method, calls, lost = told.split()
        self.calls, self.lost = int(calls), int(lost)


def fetch(port: int, count: int) -> float:
    """Seconds that many requests took, one after the other."""
    began = time.perf_counter()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /hello.txt HTTP/1.0\r\nHost: localhost\r\n\r\n")
            while client.recv(65536):
                pass
    return time.perf_counter() - began


def bursts(port: int, pid: int) -> list[tuple[float, float]]:
    """(seconds, seconds of CPU time that the server took) of the requests, in parts."""
    clock = (
        ~pid << 3
    ) | 2  # that of a process in clock_getcpuclockid(3): linux/posix-timers.h, CPUCLOCK_SCHED
    found = []
    for _ in range(BURSTS):
        before = time.clock_gettime(clock)
        spent = fetch(port, REQUESTS // BURSTS)
        found.append((spent, time.clock_gettime(clock) - before))
    return found


def quartile(values: list[float]) -> float:
    """The first."""
    return statistics.quantiles(values, n=4)[0]


def copied() -> subprocess.Popen[bytes]:
    """A dd that makes one call after the other, waiting for its go: it is stopped."""
    line = [
        "sh",
        "-c",
        f"kill -STOP $$; exec dd if=/dev/zero of=/dev/null bs=64 count={CALLS // 2} status=none",
    ]
    return subprocess.Popen(line)


async def dd(method: str | None) -> tuple[float, int]:
    """(seconds, calls seen) of that dd."""
    process = copied()
    try:
        for _ in range(500):
            if Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T":
                break
            await asyncio.sleep(0.01)
        if method is None:
            began = time.perf_counter()
            process.send_signal(18)
            await asyncio.to_thread(process.wait)
            return time.perf_counter() - began, 0
        with Outside(process.pid, method) as tracer:
            began = time.perf_counter()
            process.send_signal(18)
            await asyncio.to_thread(process.wait)
            spent = time.perf_counter() - began
        return spent, tracer.calls + tracer.lost // 2
    finally:
        ended(process)


def started(server: Program) -> subprocess.Popen[bytes]:
    """The server, started without a manager: what is measured is what it does."""
    line = [server.config.binary_path or "", *server.config.args]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, cwd=server.config.working_dir, stdout=quiet, stderr=quiet)


@attempt(
    "F041",
    alone=True,
    timeout=150,
    needs=["root"],
    saboteurs=["the-tracer-is-not-idle-and-busy", "tracing-takes-strace"],
)
async def test_tracing_is_cheap(trial: Trial) -> None:
    """An HTTP server under load (Python's http.server) with and without the tracer, taking turns; reported beside it dd with blocks of 64 bytes,
    which does nothing but system calls.
    """
    server: Program = set_up("http", trial.tmp / "http")
    process = started(server)
    trial.defer(ended, process)

    def answers() -> bool:
        try:
            return server.works()
        except OSError:
            return False

    await trial.until(answers, within=10, what="the server answers")
    await asyncio.to_thread(fetch, server.port, REQUESTS)
    method, seen = "tracefs", 0
    spent: dict[str | None, list[tuple[float, float]]] = {None: [], method: []}
    rounds = trial.rounds(9, 4)
    for number in range(rounds):
        for each in (None, method) if number % 2 else (method, None):
            if each is None:
                spent[each] += await asyncio.to_thread(bursts, server.port, process.pid)
            else:
                with await asyncio.to_thread(Outside, process.pid, each) as tracer:
                    spent[each] += await asyncio.to_thread(bursts, server.port, process.pid)
                seen += tracer.calls
    trial.reached("system calls of the server were traced", seen > REQUESTS)
    trial.log(f"method: {method}; (seconds, CPU seconds of the server) of bursts: {spent}")
    trial.figure("system calls of a request", seen / rounds / REQUESTS, unit="calls")
    # The first quartile of the bursts: what else happens on the machine only ever makes them longer.
    longer, dearer = (
        (
            quartile([each[place] for each in spent[method]])
            / quartile([each[place] for each in spent[None]])
            - 1
        )
        * 100
        for place in (0, 1)
    )
    trial.figure("requests take longer by", longer, unit="%")
    trial.figure("requests take more of the server's CPU time by", dearer, unit="%")
    if not trial.sabotaged:
        bare = [(await dd(None))[0] for _ in range(3)]
        traced = [await dd(method) for _ in range(3)]
        overhead = statistics.median(each[0] for each in traced) / statistics.median(bare) - 1
        trial.figure("overhead with dd bs=64", overhead * 100, unit="%")
        trial.figure(
            "calls of dd that were seen",
            [each[1] / CALLS * 100 for each in traced],
            unit="%",
            statistic="p50",
        )
        slow = (await dd("strace"))[0] / statistics.median(bare) - 1
        trial.figure("overhead with dd bs=64, by strace", slow * 100, unit="%")
    # The worse of both: on a virtual machine a busy neighbour can make a server quicker, whose processor then need not be woken.
    trial.judge([longer, dearer])
