"""The few requests of ptrace(2) that stopping at system calls takes, by ctypes. Numbers are those of linux/ptrace.h."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

CONT, DETACH, SYSCALL = 7, 17, 24
SETOPTIONS, SEIZE, INTERRUPT, LISTEN, SYSCALL_INFO = 0x4200, 0x4206, 0x4207, 0x4208, 0x420E
SYSGOOD, FORK, VFORK, CLONE, EXEC = 1, 2, 4, 8, 16
OPTIONS = SYSGOOD | FORK | VFORK | CLONE | EXEC
"""Stops at calls are told from signals by bit 7, and what the process starts is attached before it runs."""
EVENT_STOP = 128
WALL = 0x40000000
"""__WALL: threads too, wait4(2)."""
ENTRY = 1
INFO = struct.Struct("<B3xIQQQ6Q")
"""struct ptrace_syscall_info of an entry: kind, architecture, instruction and stack pointer, number, arguments."""


class Stop(NamedTuple):
    """A thread at a system call."""

    kind: int
    """`ENTRY`, or its end."""
    number: int
    pointer: int
    """Instruction pointer."""


def request(what: int, tid: int, address: int = 0, data: int = 0) -> int:
    """Make a request about a thread.

    Raises:
        OSError: the kernel refused; ESRCH where the thread is gone or does not stand still.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    found = int(libc.ptrace(what, tid, address, data))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def stop_of(tid: int) -> Stop:
    """What a thread that stopped at a call is about to do (Linux 5.3).

    Raises:
        OSError: it does not stand at one.
    """
    room = ctypes.create_string_buffer(INFO.size + 64)
    request(SYSCALL_INFO, tid, len(room), ctypes.addressof(room))
    kind, _, pointer, _, number, *_ = INFO.unpack_from(room.raw)
    return Stop(kind, number, pointer)
