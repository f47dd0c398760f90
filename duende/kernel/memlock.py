"""mlockall(2) and munlockall(2), and how much is locked."""

from __future__ import annotations

import ctypes
import os
import sys

MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(ctypes.c_int(value) for value in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mlockall(flags: int) -> None:
    """Lock pages into memory.

    Raises:
        OSError: EPERM, ENOMEM, EINVAL or EAGAIN, as the manual page has them.
    """
    _call("mlockall", flags)


def munlockall() -> None:
    """Unlock everything.

    Raises:
        OSError: the kernel refused.
    """
    _call("munlockall")


def locked_bytes() -> int:
    """Bytes of this process that are locked (VmLck of /proc/self/status); 0 where that cannot be known."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmLck:"):
                return int(line.split()[1]) * 1024
    return 0
