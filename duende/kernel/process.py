"""Facts about processes from /proc (proc(5)), and the only place that sends a signal to a number.

Imports nothing but `os` and `errno`: the warden is started before anything heavier is loaded.
"""

from __future__ import annotations

import errno
import os

LOWEST_PID = 2
"""kill(2) gives 0, -1 and negative numbers another meaning, and 1 is init: no signal ever goes to those."""
RESET_SIGNALS = tuple(number for number in range(1, 32) if number not in (9, 19))
"""Back to the default in a new program: Python ignores SIGPIPE and SIGXFSZ, and a parent may ignore others (signal(7))."""


class Stat:
    """The fields of /proc/<pid>/stat that identify a process and its place in the tree."""

    __slots__ = ("comm", "pgrp", "pid", "ppid", "session", "start_time", "state")

    def __init__(
        self, pid: int, comm: str, state: str, ppid: int, pgrp: int, session: int, start_time: int
    ) -> None:
        self.pid = pid
        self.comm = comm
        self.state = state
        self.ppid = ppid
        self.pgrp = pgrp
        self.session = session
        self.start_time = start_time

    def __str__(self) -> str:
        return f"{self.pid} {self.comm} ({self.state})"


def parse_stat(raw: bytes) -> Stat:
    """Parse the text of /proc/<pid>/stat; the command may hold blanks and parentheses, so it ends at the last `)`.

    Raises:
        ValueError: the text is not of that form.
    """
    opening, closing = raw.index(b"("), raw.rindex(b")")
    rest = raw[closing + 2 :].split(None, 20)
    if len(rest) < 20:
        raise ValueError(f"only {len(rest)} fields after the command in a stat line")
    return Stat(
        int(raw[:opening]),
        raw[opening + 1 : closing].decode(errors="replace"),
        rest[0].decode(),
        int(rest[1]),
        int(rest[2]),
        int(rest[3]),
        int(rest[19]),
    )


def read_stat(pid: int) -> Stat | None:
    """The process's stat, or None when there is no such process (any more)."""
    raw = _read(f"/proc/{pid}/stat")
    return parse_stat(raw) if raw else None


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM):
            return None
        raise
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    except ProcessLookupError:  # it ended between open and read
        return None
    except PermissionError:
        return None
    finally:
        os.close(fd)


def children_of(pid: int) -> list[int]:
    """Direct children of the main thread of *pid*, from /proc/<pid>/task/<pid>/children (needs CONFIG_PROC_CHILDREN)."""
    return [int(word) for word in child_numbers(pid)]


def child_numbers(pid: int) -> list[bytes]:
    """The same as decimal text: of a thousand children hardly one is of interest, and telling that needs no numbers."""
    raw = _read(f"/proc/{pid}/task/{pid}/children")
    return raw.split() if raw else []


def status_fields(pid: int) -> dict[str, str]:
    """The lines of /proc/<pid>/status by their names; empty when there is no such process (any more)."""
    raw = _read(f"/proc/{pid}/status")
    pairs = (line.partition(":") for line in raw.decode(errors="replace").splitlines()) if raw else ()
    return {name: value.strip() for name, _, value in pairs}


def environment_value(pid: int, key: str) -> str | None:
    """The value that *key* had in the environment the process was started with, or None."""
    raw = _read(f"/proc/{pid}/environ")
    if raw:
        wanted = key.encode() + b"="
        for entry in raw.split(b"\0"):
            if entry.startswith(wanted):
                return entry[len(wanted) :].decode(errors="replace")
    return None


def start_time(pid: int) -> int:
    """Start of the process in clock ticks since boot (proc(5), field 22); 0 when it does not exist."""
    found = read_stat(pid)
    return found.start_time if found else 0


def boot_id() -> str:
    """The random id of this boot (random(4)); empty where the kernel has none."""
    raw = _read("/proc/sys/kernel/random/boot_id")
    return raw.decode().strip() if raw else ""


def send_signal(pid: int, number: int) -> bool:
    """Send signal *number* to one process; False when it does not exist.

    The caller must know that *pid* is the process it means: its unreaped child, or one held by a pidfd.

    Raises:
        ValueError: *pid* is not greater than 1.
        PermissionError: the kernel forbids it.
    """
    if type(pid) is not int or pid < LOWEST_PID:
        raise ValueError(
            f"cannot send signal {number} to pid {pid!r}: only single processes above 1 are ever signalled"
        )
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
