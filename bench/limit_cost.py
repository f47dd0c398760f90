"""What it costs to start a daemon into limits of its own, beside one without: `python -m bench.limit_cost [ROUNDS]`.

Both starts are those of the native adapter, of the same static program, taken in turn; the difference is paired. A table, and
bench/out/limit_cost.json.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time

from bench.build import compiled
from bench.machine import report
from duende.adapters.contract import SpawnRequest
from duende.adapters.native.adapter import NativeAdapter
from duende.config.load import decode_json
from duende.ids import DaemonId
from duende.policy.cgroups.view import this_host

AIM = 1.0
"""Milliseconds that limits may add to a start."""
LIMITS: dict[str, dict[str, float]] = {
    "without": {},
    "memory": {"memory_bytes": 64 << 20, "memory_swap_bytes": 64 << 20},
    "memory, CPU and processes": {
        "memory_bytes": 64 << 20,
        "memory_swap_bytes": 64 << 20,
        "cpu_quota_percent": 50.0,
        "cpu_shares": 512,
        "pids_max": 20,
    },
}
BASE = "without"
GRACE = 5.0
"""Seconds for a daemon to end."""


def request(program: str, number: int, limits: dict[str, float]) -> SpawnRequest:
    """One daemon."""
    table = {
        "name": f"tiny-{number}",
        "binary_path": program,
        "logging": {"destination": "null"},
        "resources": limits,
    }
    return SpawnRequest(daemon_id=str(DaemonId.new()), config=decode_json(json.dumps(table)))


async def starts(rounds: int, program: str) -> dict[str, list[float]]:
    """Milliseconds of `launch`, each kind in turn, without the first of each, which warms up."""
    taken: dict[str, list[float]] = {name: [] for name in LIMITS}
    with tempfile.TemporaryDirectory(prefix="duende-bench-") as folder:
        async with NativeAdapter(runtime_dir=f"{folder}/run", state_dir=f"{folder}/state") as adapter:
            for number in range(rounds + 1):
                for name, limits in LIMITS.items():
                    asked = request(program, number, limits)
                    began = time.perf_counter()
                    handle = await adapter.launch(asked)
                    taken[name].append((time.perf_counter() - began) * 1e3)
                    await adapter.stop(handle, GRACE)
                    adapter.forget([asked.daemon_id])
    return {name: values[1:] for name, values in taken.items()}


def main(rounds: int) -> int:
    """Measure, print the table, write the JSON."""
    samples = asyncio.run(starts(rounds, str(compiled("tiny"))))
    base = samples[BASE]
    versions = sorted({tree.version for tree in this_host().hierarchies})
    print(f"{'start into limits, ms':<32}{'p50':>9}{'p99':>9}{'over without':>15}{'aim':>8}")
    for name, values in samples.items():
        more = (
            ""
            if name == BASE
            else f"{statistics.median(v - b for v, b in zip(values, base, strict=True)):+.2f}"
        )
        worst = sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]
        aim = "" if name == BASE else f"< {AIM:g}"
        print(f"{name:<32}{statistics.median(values):>9.2f}{worst:>9.2f}{more:>15}{aim:>8}")
    print(f"control groups of version {' and '.join(map(str, versions)) or 'none'}")
    report("limit_cost", rounds=rounds, cgroup_versions=versions, samples_ms=samples)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
