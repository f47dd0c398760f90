"""/proc/<pid>/limits (proc(5)): what setrlimit(2) has set for a process, of whatever user; prlimit(2) needs CAP_SYS_RESOURCE for another user's."""

from __future__ import annotations

INFINITY = 2**64 - 1
"""No limit."""
NAMES = {
    "RLIMIT_NOFILE": "Max open files",
    "RLIMIT_DATA": "Max data size",
    "RLIMIT_CORE": "Max core file size",
    "RLIMIT_STACK": "Max stack size",
    "RLIMIT_AS": "Max address space",
    "RLIMIT_MEMLOCK": "Max locked memory",
}
"""fs/proc/base.c, lnames."""


def soft_limits(pid: int) -> dict[str, int]:
    """The soft limits by their names in the file; empty where it cannot be read."""
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            rows = file.read().splitlines()[1:]
    except OSError:
        return {}
    found: dict[str, int] = {}
    for row in rows:
        name, words = row[:25].strip(), row[25:].split()
        if words:
            found[name] = INFINITY if words[0] == "unlimited" else int(words[0])
    return found


def limit_text(value: int) -> str:
    """A limit as the file shows it."""
    return "unlimited" if value == INFINITY else str(value)
