"""The machine a bench ran on, as far as it explains its figures."""

from __future__ import annotations

import json
import os
import platform
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
