"""One system call that came to an end, whatever noticed it."""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import NamedTuple

from duende.kernel.syscalls import ARM64, X86_64

LARGEST_ERROR = 4095
"""Results from -4095 to -1 are errors (linux/err.h, MAX_ERRNO)."""
RESTARTS = frozenset({512, 513, 514, 516})
"""Between the kernel and itself: the call is made again after a signal (linux/errno.h)."""


class Call(NamedTuple):
    """A system call."""

    at: int
    """When it began, CLOCK_MONOTONIC in nanoseconds."""
    tid: int
    """The thread that made it."""
    number: int
    duration: int
    """Nanoseconds."""
    result: int
    """What it gave; -errno where it failed."""
    first: int
    """Its first argument."""
    second: int
    """Its second argument."""

    @property
    def error(self) -> int:
        """The errno, 0 where it succeeded."""
        return -self.result if -LARGEST_ERROR <= self.result < 0 and -self.result not in RESTARTS else 0


@cache
def names(machine: str | None = None) -> dict[int, str]:
    """Number -> name, for a *machine* as uname(1) calls it; that of this one by default."""
    chosen = machine or os.uname().machine
    table = ARM64 if chosen in ("aarch64", "arm64") else X86_64
    return {number: name for name, number in table.items()}


def name_of(number: int, machine: str | None = None) -> str:
    """The name of a system call, or its number in words: newer kernels have calls that the table has not."""
    return names(machine).get(number, f"syscall_{number}")


def error_name(code: int) -> str:
    """EAGAIN for 11."""
    return errno.errorcode.get(code, f"errno {code}")
