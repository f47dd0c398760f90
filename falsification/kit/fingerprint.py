"""The machine's fingerprint: what a reader must know to compare figures, and nothing that identifies a person
or a host.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any


def fingerprint() -> dict[str, Any]:
    """System, kernel, processor, cores, memory, Python, user kind, cgroup version."""
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "distribution": _distribution(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_mib": _memory_mib(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "root": os.geteuid() == 0,
        "cgroup": _cgroup(),
    }


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # not this kind of system


def _distribution() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text("/etc/os-release"), re.MULTILINE)
    return found[1] if found else platform.platform(terse=True)


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _memory_mib() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        return 0


def _cgroup() -> str:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "v2"
    if Path("/sys/fs/cgroup/memory").exists():
        return "hybrid" if Path("/sys/fs/cgroup/unified").exists() else "v1"
    return "none"
