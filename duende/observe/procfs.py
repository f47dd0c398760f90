"""What one process uses, from /proc (proc(5)): parsers that take any text, and a reader that keeps its files open.

A file of /proc that is open belongs to the process it was opened of: once that has ended every read is ESRCH, whoever has its number then. So a reader
never mixes two processes.
"""

from __future__ import annotations

import errno
import os
import time
from typing import NamedTuple, Self

from duende.errors import AccessError

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
ENOUGH = 4096
"""Bytes: none of the files is longer, with a command of 16 bytes and 64-bit numbers."""


class StatFields(NamedTuple):
    """Of /proc/<pid>/stat."""

    command: str
    state: str
    ppid: int
    cpu_seconds: float
    """User and system time of all threads."""
    threads: int
    start_time: int
    """Clock ticks since boot: with the number it tells one process from another."""


def parse_stat(raw: bytes) -> StatFields | None:
    """The fields of a stat line; None where it is none. The command may hold blanks and brackets, so it ends at the last `)`."""
    opening, closing = raw.find(b"("), raw.rfind(b")")
    if opening < 0 or closing < opening:
        return None
    rest = raw[closing + 2 :].split(None, 20)
    try:
        return StatFields(
            raw[opening + 1 : closing].decode(errors="replace"),
            rest[0].decode("ascii"),
            int(rest[1]),
            (int(rest[11]) + int(rest[12])) / TICK,
            int(rest[17]),
            int(rest[19]),
        )
    except (IndexError, ValueError):
        return None


def parse_statm(raw: bytes) -> int | None:
    """Resident bytes of a statm line; None where it is none."""
    words = raw.split(None, 2)
    try:
        return int(words[1]) * PAGE
    except (IndexError, ValueError):
        return None


def parse_io(raw: bytes) -> tuple[int, int] | None:
    """(bytes read, bytes written), of and to storage, of /proc/<pid>/io; None where it is none."""
    found = _keyed(raw, (b"read_bytes", b"write_bytes"))
    return None if found is None else (found[0], found[1])


def parse_switches(raw: bytes) -> tuple[int, int] | None:
    """(voluntary, involuntary) context switches of the main thread, of /proc/<pid>/status; None where it does not say."""
    found = _keyed(raw, (b"voluntary_ctxt_switches", b"nonvoluntary_ctxt_switches"))
    return None if found is None else (found[0], found[1])


def parse_pss(raw: bytes) -> int | None:
    """Proportional set size in bytes, of /proc/<pid>/smaps_rollup; None where it does not say."""
    found = _keyed(raw, (b"Pss",))
    return None if found is None else found[0] * 1024


def _keyed(raw: bytes, keys: tuple[bytes, ...]) -> list[int] | None:
    table = {}
    for line in raw.split(b"\n"):
        name, _, rest = line.partition(b":")
        words = rest.split()
        if words and words[0].isdigit() and len(words[0]) < 25:
            table[name] = int(words[0])
    found = [table[key] for key in keys if key in table]
    return found if len(found) == len(keys) else None


class ProcessSample(NamedTuple):
    """One process at one moment. None is what may not be read, or what the kernel does not keep."""

    at: float
    """CLOCK_MONOTONIC, seconds."""
    state: str
    cpu_seconds: float
    rss_bytes: int
    threads: int
    read_bytes: int | None
    written_bytes: int | None


class ProcessReader:
    """Samples of one process through descriptors that are kept. A context manager."""

    __slots__ = ("_fds", "_io", "_stat", "_statm", "pid", "start_time")

    def __init__(self, pid: int) -> None:
        """Of the process that has the number *pid* now.

        Raises:
            ProcessLookupError: there is none, or none that this user may see.
            AccessError: it is there, and this user may not look at it.
        """
        self.pid = pid
        self._fds: list[int] = []
        try:
            self._stat = self._open("stat")
            self._statm = self._open("statm")
        except (FileNotFoundError, ProcessLookupError):
            self.close()
            raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}") from None
        except PermissionError as error:
            self.close()
            raise AccessError(
                f"cannot look at process {pid}: {error.strerror}",
                remedy="/proc is mounted with hidepid: look as root, or as a member of the group of its gid= (proc(5))",
            ) from None
        try:
            self._io: int | None = self._open("io")
        except OSError:
            self._io = None  # of another user's process
        first = parse_stat(self._read(self._stat))
        if first is None:
            self.close()
            raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}")
        self.start_time = first.start_time

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its files."""
        while self._fds:
            os.close(self._fds.pop())

    def sample(self) -> ProcessSample | None:
        """What it uses now; None once it has ended. A zombie has a state, and uses nothing more."""
        at = time.monotonic()
        stat = parse_stat(self._read(self._stat))
        if stat is None:
            return None
        resident = parse_statm(self._read(self._statm)) or 0
        counted = parse_io(self._read(self._io)) if self._io is not None else None
        read, written = counted if counted is not None else (None, None)
        return ProcessSample(at, stat.state, stat.cpu_seconds, resident, stat.threads, read, written)

    def descriptors(self) -> int | None:
        """How many descriptors it has open; None where that may not be seen. Costs more than a sample: the kernel makes a name for each."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd")) if self.alive else None
        except OSError:
            return None

    def switches(self) -> tuple[int, int] | None:
        """(voluntary, involuntary) context switches of its main thread."""
        return parse_switches(self._once("status"))

    def pss(self) -> int | None:
        """Proportional set size in bytes: its own pages, and its share of what it shares. The kernel walks all its pages for it."""
        return parse_pss(self._once("smaps_rollup"))

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self._read(self._stat))

    def _open(self, name: str) -> int:
        fd = os.open(f"/proc/{self.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        self._fds.append(fd)
        return fd

    def _once(self, name: str) -> bytes:
        try:
            with open(f"/proc/{self.pid}/{name}", "rb") as file:
                raw = file.read()
        except OSError:
            return b""
        return raw if self.alive else b""  # the number may have gone to another meanwhile

    @staticmethod
    def _read(fd: int) -> bytes:
        try:
            return os.pread(fd, ENOUGH, 0)
        except OSError:
            return b""  # ESRCH: it has ended
