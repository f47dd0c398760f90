"""io_uring(7) by system calls alone, for commands to drivers (IORING_OP_URING_CMD): numbers and offsets from <linux/io_uring.h>.

One thread at a time uses a ring. Nothing is allocated per command but small integers; whoever must not wait for memory (a server of a swap device)
can use it. The memory of a ring is the kernel's and ours: what the kernel reads is written before io_uring_enter(2), which orders it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import time
from typing import Self

from duende.kernel.raw import syscall

SETUP, ENTER = 425, 426
SETUP_SQE128 = 1 << 10
ENTER_GETEVENTS, ENTER_EXT_ARG = 1, 1 << 3
OP_ASYNC_CANCEL, OP_URING_CMD = 14, 46
FEAT_SINGLE_MMAP, FEAT_EXT_ARG = 1, 1 << 8
OFF_SQES = 0x10000000
NARROW, WIDE = 64, 128
"""Bytes of a submission entry, without and with SETUP_SQE128."""
COMMAND_AT = 48
"""Where the command of a driver begins in an entry: 16 bytes of it in a narrow one, 80 in a wide one."""
_PARAMS = struct.Struct("<10I40x40x")
_SQ, _CQ = 40, 80
_HEAD = struct.Struct("<BBHiQQIIQ8x")
"""opcode, flags, priority, fd, off (cmd_op in its lower half), addr, len, op_flags, user_data; 48 bytes with what is left zero."""
_CQE = struct.Struct("<QiI")
_U32 = struct.Struct("<I")
_GETEVENTS = struct.Struct("<QIIQ")
_TIMESPEC = struct.Struct("<qq")


class Ring:
    """One ring. A context manager; closing it cancels what is under way."""

    def __init__(self, entries: int, *, wide: bool = False) -> None:
        """Made by io_uring_setup(2); *wide* entries carry commands of up to 80 bytes.

        Raises:
            OSError: ENOSYS, EPERM (sysctl kernel.io_uring_disabled, seccomp), ENOMEM, EINVAL of a kernel without wide entries (before 5.19).
        """
        params = ctypes.create_string_buffer(
            _PARAMS.pack(0, 0, SETUP_SQE128 if wide else 0, *([0] * 7)), _PARAMS.size
        )
        self.fd = syscall(SETUP, ctypes.c_uint32(entries), ctypes.byref(params))
        self._maps: list[mmap.mmap] = []
        try:
            self._map(params.raw, WIDE if wide else NARROW)
        except BaseException:
            self.close()
            raise

    def _map(self, params: bytes, stride: int) -> None:
        found = _PARAMS.unpack(params)
        self.entries, cq_entries, features = found[0], found[1], found[5]
        if not features & FEAT_SINGLE_MMAP or not features & FEAT_EXT_ARG:
            raise OSError(errno.ENOSYS, "io_uring of before Linux 5.11")
        sq = struct.unpack_from("<7I", params, _SQ)
        cq = struct.unpack_from("<7I", params, _CQ)
        size = max(sq[6] + 4 * self.entries, cq[5] + _CQE.size * cq_entries)
        self._rings = mmap.mmap(self.fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._maps.append(self._rings)
        self._sqes = mmap.mmap(
            self.fd, stride * self.entries, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=OFF_SQES
        )
        self._maps.append(self._sqes)
        self._stride = stride
        self._sq_head, self._sq_tail = sq[0], sq[1]
        self._sq_mask = self._load(sq[2])
        self._cq_head, self._cq_tail, self._cqes = cq[0], cq[1], cq[5]
        self._cq_mask = self._load(cq[2])
        for index in range(self.entries):
            _U32.pack_into(self._rings, sq[6] + 4 * index, index)
        self._tail = self._load(self._sq_tail)
        self._blank = bytes(stride)
        self._timespec = ctypes.create_string_buffer(_TIMESPEC.size)
        self._argument = ctypes.create_string_buffer(
            _GETEVENTS.pack(0, 0, 0, ctypes.addressof(self._timespec)), _GETEVENTS.size
        )
        self._at_argument = ctypes.c_void_p(ctypes.addressof(self._argument))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it back to the kernel."""
        while self._maps:
            self._maps.pop().close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def command(self, fd: int, operation: int, payload: bytes, mark: int) -> None:
        """Prepare a command to the driver behind *fd*; its completion bears *mark*.

        Raises:
            OSError: EBUSY, as many are prepared as there are entries.
        """
        place = self._take()
        _HEAD.pack_into(self._sqes, place, OP_URING_CMD, 0, 0, fd, operation, 0, 0, 0, mark)
        self._sqes[place + COMMAND_AT : place + COMMAND_AT + len(payload)] = payload

    def cancel(self, target: int, mark: int) -> None:
        """Prepare to cancel what bears the mark *target*; raises as `command` does."""
        place = self._take()
        _HEAD.pack_into(self._sqes, place, OP_ASYNC_CANCEL, 0, 0, -1, 0, target, 0, 0, mark)

    def submit(self, wait: int = 0, timeout: float | None = None) -> bool:
        """Hand over what is prepared, and wait until *wait* completions are there, or for *timeout* seconds; whether they came in time.

        Raises:
            OSError: the kernel refused; a signal that came is no error.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            _U32.pack_into(self._rings, self._sq_tail, self._tail & 0xFFFFFFFF)
            prepared = (self._tail - self._load(self._sq_head)) & 0xFFFFFFFF
            flags = ENTER_GETEVENTS if wait else 0
            argument: ctypes.c_void_p | None = None
            if wait and deadline is not None:
                left = max(0.0, deadline - time.monotonic())
                _TIMESPEC.pack_into(self._timespec, 0, int(left), int(left % 1 * 1e9))
                flags |= ENTER_EXT_ARG
                argument = self._at_argument
            try:
                syscall(
                    ENTER,
                    ctypes.c_uint32(self.fd),
                    ctypes.c_uint32(prepared),
                    ctypes.c_uint32(wait),
                    ctypes.c_uint32(flags),
                    argument,
                    ctypes.c_size_t(_GETEVENTS.size if argument is not None else 0),
                )
            except InterruptedError:
                if self.ready() >= wait:
                    return True
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                continue
            except OSError as error:
                if error.errno == errno.ETIME:
                    return self.ready() >= wait
                raise
            return self.ready() >= wait

    def ready(self) -> int:
        """How many completions wait to be taken."""
        return (self._load(self._cq_tail) - self._load(self._cq_head)) & 0xFFFFFFFF

    def completions(self) -> list[tuple[int, int]]:
        """Take them: (mark, result) of each."""
        head, found = self._load(self._cq_head), []
        for _ in range(self.ready()):
            mark, result, _flags = _CQE.unpack_from(
                self._rings, self._cqes + (head & self._cq_mask) * _CQE.size
            )
            found.append((mark, result))
            head = (head + 1) & 0xFFFFFFFF
        _U32.pack_into(self._rings, self._cq_head, head)
        return found

    def _take(self) -> int:
        if (self._tail - self._load(self._sq_head)) & 0xFFFFFFFF >= self.entries:
            raise OSError(errno.EBUSY, "the ring is full")
        place = (self._tail & self._sq_mask) * self._stride
        self._sqes[place : place + self._stride] = self._blank
        self._tail = (self._tail + 1) & 0xFFFFFFFF
        return place

    def _load(self, at: int) -> int:
        found: int = _U32.unpack_from(self._rings, at)[0]
        return found
