"""The shared page in which every tiny process notes its start: exact, cheap, the same for every supervisor.

Layout (native byte order): count, target, capacity, claimed as 32-bit words, then entries of
{u64 CLOCK_MONOTONIC ns, u32 pid, u32 0}. A tiny process wakes one waiter on `count` (futex(2)) when it brings
`count` to `target`, and nobody otherwise.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
import time
from pathlib import Path

HEADER = struct.Struct("=IIII")
ENTRY = struct.Struct("=QII")
FUTEX_WAIT = 0
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}
LONGEST_SLEEP = 1.0
"""Seconds after which a wait looks again by itself."""


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class Start:
    """One start of a tiny process: when (CLOCK_MONOTONIC, ns) and as which pid."""

    __slots__ = ("at_ns", "pid")

    def __init__(self, at_ns: int, pid: int) -> None:
        self.at_ns = at_ns
        self.pid = pid


class Counter:
    """The measuring side of the page. Close it when done; the file goes with it."""

    def __init__(self, path: Path, capacity: int = 65536) -> None:
        self.path = path
        self.capacity = capacity
        size = HEADER.size + capacity * ENTRY.size
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(descriptor, size)
            self._page = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        HEADER.pack_into(self._page, 0, 0, 0, capacity, 0)
        self._count = ctypes.c_uint32.from_buffer(self._page, 0)
        self._target = ctypes.c_uint32.from_buffer(self._page, 4)
        libc = ctypes.CDLL(None, use_errno=True)
        self._syscall = libc.syscall
        self._syscall.restype = ctypes.c_long
        self._number = SYS_FUTEX[platform.machine()]

    @property
    def count(self) -> int:
        """Starts so far."""
        return int(self._count.value)

    def starts(self, first: int = 0) -> list[Start]:
        """The starts from the one with index *first* on, in the order in which they were claimed."""
        last = min(self.count, self.capacity)
        entries = (ENTRY.unpack_from(self._page, HEADER.size + i * ENTRY.size) for i in range(first, last))
        return [Start(at_ns, pid) for at_ns, pid, _ in entries]

    def aim(self, target: int) -> None:
        """Have the process that brings the count to *target* wake `wait`; call it before they are started."""
        self._target.value = target

    def wait(self, target: int, timeout: float) -> bool:
        """Sleep until the count has reached *target*; False when *timeout* seconds were not enough."""
        self.aim(target)
        deadline = time.monotonic() + timeout
        while (seen := self.count) < target:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._futex_wait(seen, min(left, LONGEST_SLEEP))
        return True

    def _futex_wait(self, seen: int, seconds: float) -> None:
        span = _Timespec(int(seconds), int(seconds % 1 * 1e9))
        address = ctypes.byref(self._count)
        if self._syscall(self._number, address, FUTEX_WAIT, seen, ctypes.byref(span), None, 0) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR):
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """Give the page and its file back."""
        del self._count, self._target
        self._page.close()
        self.path.unlink(missing_ok=True)
