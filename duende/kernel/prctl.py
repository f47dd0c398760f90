"""prctl(2): the few options duende uses. Constants from <linux/prctl.h>."""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
PR_SET_NO_NEW_PRIVS = 38
PR_SET_IO_FLUSHER = 57


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
    libc.prctl.restype = ctypes.c_int
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_child_subreaper() -> bool:
    """Become the parent of orphaned descendants (Linux 3.4); False on systems that have no such thing.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform != "linux":
        return False
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    return True


def set_no_new_privs() -> None:
    """Give up gaining privileges by exec, for this process and its descendants (Linux 3.5).

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_death_signal(number: int) -> None:
    """Have this process sent *number* when its parent thread ends.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, number)


def set_name(name: str) -> None:
    """Name this thread as ps and top show it; the kernel keeps 15 bytes.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform == "linux":
        buffer = ctypes.create_string_buffer(name.encode()[:15])
        _prctl(PR_SET_NAME, ctypes.addressof(buffer))


def set_io_flusher() -> None:
    """Mark this thread, and those that it starts, as one that block devices wait for (Linux 5.6): when it needs memory the kernel does not wait for
    input and output, which might be its own.

    Raises:
        OSError: EPERM without CAP_SYS_RESOURCE; EINVAL of an older kernel.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_IO_FLUSHER, 1)
