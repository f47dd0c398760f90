"""What macOS says through sysctl(3); elsewhere nothing."""

from __future__ import annotations

import ctypes
import sys

LONGEST = 256


def boot_session() -> str:
    """The random id of this boot (`kern.bootsessionuuid`); empty where there is none."""
    return _text(b"kern.bootsessionuuid") if sys.platform == "darwin" else ""


def _text(name: bytes) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    call = libc.sysctlbyname
    call.argtypes = (
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_void_p,
        ctypes.c_size_t,
    )
    call.restype = ctypes.c_int
    buffer, size = ctypes.create_string_buffer(LONGEST), ctypes.c_size_t(LONGEST)
    if call(name, buffer, ctypes.byref(size), None, 0):
        return ""
    return buffer.value.decode(errors="replace")
