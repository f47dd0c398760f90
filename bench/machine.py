"""The machine a bench ran on, as far as it explains its figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bench.build import OUT


def _line(path: str, key: str) -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    except OSError:
        return ""
    return ""


def fingerprint() -> dict[str, object]:
    """Processor, cores, memory, kernel, Python, load, and whether it says that it is a virtual machine."""
    flags = _line("/proc/cpuinfo", "flags").split()
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "hypervisor": "hypervisor" in flags,
        "load": list(os.getloadavg()),
    }


def report(name: str, **found: object) -> None:
    """Write bench/out/NAME.json: what was found, beside the machine it was found on."""
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps({"machine": fingerprint(), **found}, indent=1) + "\n")


def told(
    name: str,
    found: Mapping[str, tuple[str, list[float]]],
    aims: Mapping[str, str],
    *,
    rounds: int,
    worst: Callable[[Iterable[float]], float] = max,
) -> None:
    """Print what was *found* (what -> unit, samples) beside what was aimed at, and write it as the report *name*."""
    print(f"{'':<40}{'p50':>12}{'worst':>12}      {'aim':>12}")
    for what, (unit, values) in found.items():
        middle, far = statistics.median(values), worst(values)
        print(f"{what:<40}{middle:>12.4g}{far:>12.4g} {unit:<4} {aims.get(what, ''):>12}")
    report(
        name,
        rounds=rounds,
        samples={what: {"unit": unit, "values": values} for what, (unit, values) in found.items()},
    )
