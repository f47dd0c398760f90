"""landlock(7): which files a process may reach. Constants from <linux/landlock.h>; the numbers are the same on all machines."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

from duende.kernel.raw import syscall

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FIRST = (1 << 13) - 1
"""All rights of the first version: also to make and remove each kind of file."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR


def _call(number: int, *arguments: object) -> int:
    try:
        return syscall(number, *arguments)
    except OSError as error:
        raise OSError(error.errno, f"landlock: {error.strerror}") from None


def version() -> int:
    """The version of landlock that the kernel has, 0 for none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(
            LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(LANDLOCK_CREATE_RULESET_VERSION)
        )
    except OSError:
        return 0


def handled(known: int) -> int:
    """All rights that version *known* can take away."""
    return (
        FIRST
        | (REFER if known >= 2 else 0)
        | (TRUNCATE if known >= 3 else 0)
        | (IOCTL_DEV if known >= 5 else 0)
    )


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Leave this thread, and all that it starts, only what lies below *readable* (to read and execute) and *writable* (for everything).

    A path that is not there is left out: nothing can be reached through it. Needs no_new_privs or CAP_SYS_ADMIN.

    Raises:
        OSError: the kernel refused, or has no landlock.
    """
    rights = handled(version())
    attribute = struct.pack("=Q", rights)
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    ruleset = _call(LANDLOCK_CREATE_RULESET, buffer, ctypes.c_size_t(len(attribute)), ctypes.c_uint(0))
    try:
        for paths, allowed in ((readable, READ), (writable, rights)):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        _call(LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            allowed &= OF_FILES
        rule = struct.pack("=Qi", allowed, fd)  # packed, by the header
        buffer = ctypes.create_string_buffer(rule, len(rule))
        _call(
            LANDLOCK_ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(LANDLOCK_RULE_PATH_BENEATH),
            buffer,
            ctypes.c_uint(0),
        )
    finally:
        os.close(fd)
