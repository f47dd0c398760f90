"""pidfd: what the standard library has not. Constants from <linux/pidfd.h>."""

from __future__ import annotations

import fcntl
import os
import struct
import time

from duende.states import ProcessExit

PIDFD_GET_INFO = 0xC0000000 | (64 << 16) | (0xFF << 8) | 11
"""_IOWR(PIDFS_IOCTL_MAGIC 0xFF, 11, struct pidfd_info of 64 bytes), Linux 6.13."""
PIDFD_INFO_EXIT = 1 << 3
"""Linux 6.15: the exit status, kept after the process was reaped by its parent."""
PIDFD_GETFD = 438
INFO = struct.Struct("=QQIIIIIIIIIIIi")
"""mask, cgroupid, pid, tgid, ppid, eight user and group ids, exit_code."""


def descriptor_of(fd: int, number: int) -> int:
    """A duplicate of descriptor *number* of the process of pidfd *fd* (pidfd_getfd(2), Linux 5.6).

    Raises:
        OSError: it has none such (EBADF), has ended, or may not be looked into.
    """
    import ctypes  # of all here only this needs it, and every manager loads the rest

    from duende.kernel.raw import syscall

    return syscall(PIDFD_GETFD, ctypes.c_int(fd), ctypes.c_int(number), ctypes.c_uint(0))


def exit_of(fd: int) -> ProcessExit:
    """How the process of pidfd *fd* ended: of our own child by waitid(2), of another by PIDFD_GET_INFO, else unknown."""
    now = time.monotonic()
    try:
        result = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        result = None
    if result is not None:
        exited = result.si_code == os.CLD_EXITED
        return ProcessExit(
            code=result.si_status if exited else None,
            signal=None if exited else result.si_status,
            core_dumped=result.si_code == os.CLD_DUMPED,
            at=now,
        )
    buffer = bytearray(64)
    INFO.pack_into(buffer, 0, PIDFD_INFO_EXIT, *([0] * 13))
    try:
        fcntl.ioctl(fd, PIDFD_GET_INFO, buffer)
    except OSError:
        return ProcessExit(at=now)
    fields = INFO.unpack_from(buffer)
    if not fields[0] & PIDFD_INFO_EXIT:
        return ProcessExit(at=now)
    raw = fields[-1]
    if os.WIFSIGNALED(raw):
        return ProcessExit(signal=os.WTERMSIG(raw), core_dumped=os.WCOREDUMP(raw), at=now)
    return ProcessExit(code=os.WEXITSTATUS(raw), at=now)
