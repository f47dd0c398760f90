"""setns(2): into a namespace that somebody else made."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET = 0x40000000
"""<linux/sched.h>"""


def enter_network(path: str) -> None:
    """Move this thread into the network namespace that *path* stands for: a file of /run/netns (ip-netns(8)) or /proc/PID/ns/net.

    Raises:
        OSError: there is no such file, it is no network namespace (EINVAL), or this process may not (CAP_SYS_ADMIN).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(ctypes.c_int(fd), ctypes.c_int(CLONE_NEWNET)) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(fd)
