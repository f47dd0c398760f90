"""What the files of a group tell: parsers that take any text, and say nothing of what they do not find."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

UNLIMITED = 2**63 - 4096
"""What version 1 shows as no limit of memory: LONG_MAX in whole pages."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a group uses, and how often it came up against its limits. None is what its files do not tell."""

    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    cpu_seconds: float | None = None
    pids: int | None = None
    oom_kills: int | None = None
    """Processes that the kernel killed for want of memory in the group."""
    throttled: int | None = None
    """Periods in which the group was held back for its CPU quota."""
    throttled_seconds: float | None = None
    refused_forks: int | None = None
    """How often pids.max refused a process or thread."""
    memory_stalled: float | None = None
    """Seconds in which some process of the group waited for memory (PSI, Documentation/accounting/psi.rst); None where the kernel keeps none."""
    io_stalled: float | None = None
    """Seconds in which some waited for input or output."""


def number(text: str | None) -> int | None:
    """A file of one number; "max" is none."""
    word = (text or "").strip()
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 25 else None


def fields(text: str | None) -> dict[str, int]:
    """A flat keyed file (cgroup-v2.rst, Format): "name number" in each line; whatever is else is left out."""
    found = {}
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) == 2 and (value := number(words[1])) is not None:
            found[words[0]] = value
    return found


def stalled(text: str | None) -> float | None:
    """The seconds in a file of pressure: "some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS"."""
    for line in (text or "").splitlines():
        kind, *words = line.split() or [""]
        total = next((number(word[6:]) for word in words if word.startswith("total=")), None)
        if kind == "some" and total is not None:
            return total / 1e6
    return None


def usage_of(read: Callable[[str, str], str | None], version: Callable[[str], int]) -> Usage:
    """The usage by *read*(controller, file) of a group whose controllers have each a *version*, 0 for none."""
    memory, cpu = version("memory"), version("cpu")
    stat = fields(read("cpu", "cpu.stat"))
    if memory == 2:
        used, peak = number(read("memory", "memory.current")), number(read("memory", "memory.peak"))
        kills = fields(read("memory", "memory.events")).get("oom_kill")
    else:
        used = number(read("memory", "memory.usage_in_bytes"))
        peak = number(read("memory", "memory.max_usage_in_bytes"))
        kills = fields(read("memory", "memory.oom_control")).get("oom_kill")
    if cpu == 2:
        spent = stat.get("usage_usec")
        seconds = None if spent is None else spent / 1e6
        held = stat.get("throttled_usec")
        held_seconds = None if held is None else held / 1e6
    else:
        spent = number(read("cpuacct", "cpuacct.usage"))
        seconds = None if spent is None else spent / 1e9
        held = stat.get("throttled_time")
        held_seconds = None if held is None else held / 1e9
    return Usage(
        memory_bytes=used,
        memory_peak_bytes=peak,
        cpu_seconds=seconds,
        pids=number(read("pids", "pids.current")),
        oom_kills=kills,
        throttled=stat.get("nr_throttled"),
        throttled_seconds=held_seconds,
        refused_forks=fields(read("pids", "pids.events")).get("max"),
        memory_stalled=stalled(read("memory", "memory.pressure")) if memory == 2 else None,
        io_stalled=stalled(read("io", "io.pressure")) if version("io") == 2 else None,
    )


def limit_shown(file: str, text: str | None) -> str:
    """The limit that a file shows, in the words of `writes`; "max" where there is none."""
    word = " ".join((text or "").split())
    value = number(word)
    if file.startswith("memory.") and value is not None and value >= UNLIMITED:
        return "max"
    return "max" if file == "cpu.cfs_quota_us" and word == "-1" else word
