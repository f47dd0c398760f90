"""Stacks of stopped native threads, with file and line, by libdw of elfutils: the library that reads DWARF for strace, perf and systemd."""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any, NamedTuple

from duende.errors import TracerFailedError

DEEPEST = 64
"""Frames looked at: a stack that is damaged may have no end."""


class Frame(NamedTuple):
    """One frame of a stack."""

    function: str
    file: str
    """Empty where nothing is known of it: a library without debugging information."""
    line: int
    module: str
    """The program or library it is in."""


class _Callbacks(ctypes.Structure):
    _fields_ = (
        ("find_elf", ctypes.c_void_p),
        ("find_debuginfo", ctypes.c_void_p),
        ("section_address", ctypes.c_void_p),
        ("debuginfo_path", ctypes.c_void_p),
    )


_ON_FRAME = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class Unwinder:
    """Reads the stacks of a process whose threads the calling thread has stopped by ptrace."""

    def __init__(self, pid: int) -> None:
        """Look at the process's mappings.

        Raises:
            TracerFailedError: libdw is not installed, or cannot read the process.
        """
        name = ctypes.util.find_library("dw") or "libdw.so.1"
        try:
            self._dw = ctypes.CDLL(name, use_errno=True)
        except OSError:
            raise TracerFailedError(
                "libdw, which reads debugging information, is not installed",
                remedy="install libdw1 (elfutils)",
            ) from None
        self.pid = pid
        self._types()
        self._callbacks = _Callbacks(
            ctypes.cast(self._dw.dwfl_linux_proc_find_elf, ctypes.c_void_p),
            ctypes.cast(self._dw.dwfl_standard_find_debuginfo, ctypes.c_void_p),
            None,
            None,
        )
        self._session = 0
        self._open()

    def stack(self, tid: int) -> list[Frame]:
        """The frames of a stopped thread, innermost first."""
        addresses: list[tuple[int, bool]] = []

        def on_frame(frame: int, _: int) -> int:
            address, activation = ctypes.c_uint64(), ctypes.c_bool()
            if not self._dw.dwfl_frame_pc(frame, ctypes.byref(address), ctypes.byref(activation)):
                return 1
            addresses.append((address.value, activation.value))
            return 1 if len(addresses) >= DEEPEST else 0

        call = _ON_FRAME(on_frame)
        self._dw.dwfl_getthread_frames(self._session, tid, call, None)
        if addresses and not self._dw.dwfl_addrmodule(self._session, addresses[0][0]):
            self._open()  # mapped since: the process has loaded a library, or another program
            addresses.clear()
            self._dw.dwfl_getthread_frames(self._session, tid, call, None)
        # A return address is behind the call; one byte before it is within.
        return [self._frame(address - (not activation)) for address, activation in addresses]

    def close(self) -> None:
        """Give back what libdw holds."""
        if self._session:
            self._dw.dwfl_end(self._session)
            self._session = 0

    def _open(self) -> None:
        self.close()
        self._session = self._dw.dwfl_begin(ctypes.byref(self._callbacks))
        failed = self._dw.dwfl_linux_proc_report(self._session, self.pid)
        self._dw.dwfl_report_end(self._session, None, None)
        # The last argument: this thread has stopped it already, libdw need not.
        if failed or self._dw.dwfl_linux_proc_attach(self._session, self.pid, True) < 0:
            raise TracerFailedError(
                f"libdw cannot read process {self.pid}", remedy="look whether it still runs"
            )

    def _frame(self, address: int) -> Frame:
        module = self._dw.dwfl_addrmodule(self._session, address)
        if not module:
            return Frame(f"{address:#x}", "", 0, "")
        name = self._dw.dwfl_module_addrname(module, address)
        where = self._dw.dwfl_module_info(module, None, None, None, None, None, None, None) or b""
        file, line = b"", ctypes.c_int()
        found = self._dw.dwfl_module_getsrc(module, address)
        if found:
            file = self._dw.dwfl_lineinfo(found, None, ctypes.byref(line), None, None, None) or b""
        return Frame(_text(name) or f"{address:#x}", _text(file), line.value, _text(where))

    def _types(self) -> None:
        pointer, address = ctypes.c_void_p, ctypes.c_uint64
        for name, result, arguments in (
            ("dwfl_begin", pointer, [pointer]),
            ("dwfl_end", None, [pointer]),
            ("dwfl_linux_proc_report", ctypes.c_int, [pointer, ctypes.c_int]),
            ("dwfl_report_end", ctypes.c_int, [pointer, pointer, pointer]),
            ("dwfl_linux_proc_attach", ctypes.c_int, [pointer, ctypes.c_int, ctypes.c_bool]),
            ("dwfl_getthread_frames", ctypes.c_int, [pointer, ctypes.c_int, _ON_FRAME, pointer]),
            ("dwfl_frame_pc", ctypes.c_bool, [pointer, pointer, pointer]),
            ("dwfl_addrmodule", pointer, [pointer, address]),
            ("dwfl_module_addrname", ctypes.c_char_p, [pointer, address]),
            ("dwfl_module_info", ctypes.c_char_p, [pointer] * 8),
            ("dwfl_module_getsrc", pointer, [pointer, address]),
            ("dwfl_lineinfo", ctypes.c_char_p, [pointer] * 6),
        ):
            call: Any = getattr(self._dw, name)
            call.restype, call.argtypes = result, arguments


def _text(raw: bytes | None) -> str:
    return raw.decode(errors="replace") if raw else ""
