"""Capabilities of this process: prctl(2), capset(2). Constants from <linux/prctl.h> and <linux/capability.h>."""

from __future__ import annotations

import ctypes
import os
import struct

PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
LINUX_CAPABILITY_VERSION_3 = 0x20080522
EINVAL = 22


def drop_bounding(bits: int) -> None:
    """Take the capabilities *bits* out of the bounding set: no program that is executed from here on can have them (capabilities(7)).

    Raises:
        OSError: this process may not (CAP_SETPCAP).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(64):
        if bits >> number & 1 and libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) != 0:
            error = ctypes.get_errno()
            if error != EINVAL:  # one that this kernel does not know yet nobody has
                raise OSError(error, f"cannot drop capability {number}: {os.strerror(error)}")


def keep_only(bits: int) -> None:
    """Give up, in this process and for ever, every capability but *bits*.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    head = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    header = ctypes.create_string_buffer(head, len(head))
    if libc.capget(header, data) == 0:
        fields = struct.unpack("=6I", data.raw)
        kept = [field & (bits >> (0 if place < 3 else 32) & 0xFFFFFFFF) for place, field in enumerate(fields)]
        fresh = ctypes.create_string_buffer(struct.pack("=6I", *kept), 24)
        if libc.capset(header, fresh) == 0:
            return
    error = ctypes.get_errno()
    raise OSError(error, f"cannot give up capabilities: {os.strerror(error)}")
