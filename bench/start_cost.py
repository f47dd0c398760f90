"""What a Python daemon's start costs: `python -m bench.start_cost [ROUNDS]`.

A table, and bench/out/start_cost.json. Starts by exec are paired with bare interpreters, interleaved, so that a noisy machine is noisy for all. Each is the
time from just before the start until READY=1 arrives, in milliseconds.
"""

from __future__ import annotations

import asyncio
import compileall
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import report
from bench.procs import descendants, pss_bytes
from duende.adapters.contract import AdapterEvent, EventKind, SpawnRequest
from duende.adapters.native.adapter import NativeAdapter
from duende.config.load import decode_json
from duende.ids import DaemonId

SAY = "import socket as s; s.socket(s.AF_UNIX, s.SOCK_DGRAM).sendto(b'READY=1', {path!r})"
DAEMON = "duende.examples.daemon:CounterDaemon"
HOST = "import sys; sys.path.insert(0, {root!r}); from duende.host.main import main; sys.exit(main(sys.argv[1:]))"
BARE = "bare asyncio (-I -S)"
DEADLINE = 10.0
FLEET = 100
"""Daemons whose memory is compared."""
GRACE = 5.0
"""Seconds for a daemon to end."""


def commands(path: str, root: str) -> dict[str, list[str]]:
    """The starts by exec that are compared; *path* is where READY=1 goes."""
    python, say = sys.executable, SAY.format(path=path)
    config = json.dumps({"name": "counter", "daemon": DAEMON})
    return {
        BARE: [python, "-I", "-S", "-c", f"import asyncio\n{say}"],
        "asyncio with site": [python, "-c", f"import asyncio\n{say}"],
        "asyncio and msgspec with site": [python, "-c", f"import asyncio, msgspec\n{say}"],
        "duende run": [python, "-c", HOST.format(root=root), DAEMON, "--config-json", config],
    }


def once(command: list[str], path: str, listener: socket.socket) -> float:
    """Milliseconds until the child of *command* says READY=1; the child is ended afterwards."""
    began = time.perf_counter()
    child = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": path}, stdout=subprocess.DEVNULL)
    try:
        while b"READY=1" not in listener.recv(4096):
            pass
        return (time.perf_counter() - began) * 1e3
    finally:
        child.kill()
        child.wait()


def by_exec(rounds: int, root: str) -> dict[str, list[float]]:
    """Every start by exec, *rounds* times, interleaved."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        path = os.path.join(folder, "notify")
        listener.bind(path)
        listener.settimeout(DEADLINE)
        starts = commands(path, root)
        taken: dict[str, list[float]] = {name: [] for name in starts}
        for _ in range(rounds):
            for name, command in starts.items():
                taken[name].append(once(command, path, listener))
    return taken


def import_cost(rounds: int, root: str) -> list[float]:
    """Milliseconds of `import duende` inside an interpreter that is up."""
    timed = "a = time.perf_counter(); import duende; print(time.perf_counter() - a)"
    code = f"import sys, time; sys.path.insert(0, {root!r}); {timed}"
    line = [sys.executable, "-I", "-c", code]
    runs = (subprocess.run(line, check=True, capture_output=True) for _ in range(rounds))
    return [float(run.stdout) * 1e3 for run in runs]


class Readiness:
    """Tells when each daemon of an adapter is ready."""

    def __init__(self, adapter: NativeAdapter) -> None:
        self._ready: dict[str, asyncio.Future[float]] = {}
        adapter.subscribe(self._on_event)

    def expect(self, daemon_id: str) -> asyncio.Future[float]:
        """The reading of the clock when that daemon gets ready."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._ready[daemon_id] = future
        return future

    def _on_event(self, event: AdapterEvent) -> None:
        future = self._ready.get(event.daemon_id)
        if future is None or future.done():
            return
        if event.kind is EventKind.READY:
            future.set_result(time.perf_counter())
        elif event.kind is EventKind.EXITED:
            future.set_exception(RuntimeError(f"ended before it was ready: {event.exit}"))


def request(number: int, *, preload: bool) -> SpawnRequest:
    """One counter daemon."""
    table: dict[str, Any] = {
        "name": f"counter-{number}",
        "daemon": DAEMON,
        "logging": {"destination": "null"},
        "readiness": {"kind": "notify"},
        "platform": {"native": {"preload": preload}},
    }
    return SpawnRequest(daemon_id=str(DaemonId.new()), config=decode_json(json.dumps(table)))


async def one_by_one(rounds: int, *, preload: bool) -> list[float]:
    """Milliseconds from `launch` until ready, one after the other, without the first, which warms up."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="duende-bench-") as folder:
        async with NativeAdapter(runtime_dir=f"{folder}/run", state_dir=f"{folder}/state") as adapter:
            readiness = Readiness(adapter)
            for number in range(rounds + 1):
                asked = request(number, preload=preload)
                ready = readiness.expect(asked.daemon_id)
                began = time.perf_counter()
                handle = await adapter.launch(asked)
                taken.append((await asyncio.wait_for(ready, DEADLINE) - began) * 1e3)
                await adapter.stop(handle, GRACE)
    return taken[1:]


async def fleet_memory(*, preload: bool) -> float:
    """Bytes of PSS of FLEET ready daemons and of everything that the adapter started for them."""
    with tempfile.TemporaryDirectory(prefix="duende-bench-") as folder:
        async with NativeAdapter(runtime_dir=f"{folder}/run", state_dir=f"{folder}/state") as adapter:
            readiness = Readiness(adapter)
            asked = [request(number, preload=preload) for number in range(FLEET)]
            ready = [readiness.expect(one.daemon_id) for one in asked]
            for answer in await adapter.launch_many(asked):
                if isinstance(answer, Exception):
                    raise answer
            await asyncio.wait_for(asyncio.gather(*ready), DEADLINE * 6)
            return float(pss_bytes(descendants(adapter.helper_pid)))


def percentile(values: list[float], fraction: float) -> float:
    """The value that *fraction* of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def main(rounds: int) -> int:
    """Measure everything, print the table, write the JSON."""
    root = str(Path(__file__).resolve().parent.parent)
    # Installers compile; a checkout under PYTHONDONTWRITEBYTECODE would be compiled anew in every start.
    compileall.compile_dir(os.path.join(root, "duende"), quiet=1)
    samples = by_exec(rounds, root)
    samples["import duende"] = import_cost(rounds, root)
    samples["adapter, preloaded"] = asyncio.run(one_by_one(rounds, preload=True))
    samples["adapter, by exec"] = asyncio.run(one_by_one(rounds, preload=False))
    memory = {
        kind: asyncio.run(fleet_memory(preload=kind == "preloaded")) for kind in ("preloaded", "by exec")
    }
    base = samples[BARE]
    print(f"{'start until ready, ms':<32}{'p50':>9}{'p99':>9}{'over bare, paired':>20}")
    for name, values in samples.items():
        paired = ""
        if name in commands("", root) and name != BARE:
            paired = f"{statistics.median(v - b for v, b in zip(values, base, strict=True)):+.1f}"
        print(f"{name:<32}{statistics.median(values):>9.1f}{percentile(values, 0.99):>9.1f}{paired:>20}")
    for kind, size in memory.items():
        print(f"{FLEET} daemons {kind}: {size / 1e6:.0f} MB of PSS, {size / FLEET / 1e6:.1f} MB each")
    report("start_cost", rounds=rounds, samples_ms=samples, fleet_pss_bytes=memory)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
