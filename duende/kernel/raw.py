"""syscall(2): a system call that the C library of this machine may have no function for."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any


def syscall(number: int, *arguments: object, about: str | None = None) -> int:
    """Make the call; what it gave. Arguments are values of ctypes, bytes or None: what is narrower than a register must say so.

    Raises:
        OSError: the kernel refused; with *about* as the file it was about.
    """
    found = int(_function()(ctypes.c_long(number), *arguments))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), *([] if about is None else [about]))
    return found


@functools.cache
def _function() -> Any:
    """syscall(2) of the C library, found once."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc.syscall
