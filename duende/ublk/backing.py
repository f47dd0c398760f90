"""Where a server keeps the blocks: in memory, or in a file. Data goes between the kernel's request and the backing through the device's own node
(`Feature.USER_COPY`), by one system call and without a buffer of ours where that can be.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import Protocol

from duende.errors import DaemonIOError

ZERO_CHUNK = 1 << 16


class Backing(Protocol):
    """Holds the blocks. Offsets and lengths are bytes within its size. Methods may be called from several threads, for blocks of their own."""

    size: int

    def read(self, node: int, at: int, offset: int, length: int) -> None:
        """Give blocks to a request, whose data lies at *at* of the open *node*."""

    def write(self, node: int, at: int, offset: int, length: int) -> None:
        """Take them from it."""

    def flush(self) -> None:
        """Have all that was written survive a power cut, as far as the backing can."""

    def zero(self, offset: int, length: int) -> None:
        """Make blocks zero, and give back their room where that can be."""

    def close(self) -> None:
        """Let go of it."""


class Memory:
    """Blocks in anonymous memory: gone with the process; locked into memory with the rest of it (`lock_memory`)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._map)
        self._zeros = bytes(ZERO_CHUNK)

    def read(self, node: int, at: int, offset: int, length: int) -> None:
        """By pwrite(2) from the memory itself."""
        _whole(os.pwrite(node, self._view[offset : offset + length], at), length)

    def write(self, node: int, at: int, offset: int, length: int) -> None:
        """By preadv(2) into the memory itself."""
        _whole(os.preadv(node, [self._view[offset : offset + length]], at), length)

    def flush(self) -> None:
        """Memory is as safe as it gets."""

    def zero(self, offset: int, length: int) -> None:
        """Overwritten: memory that is locked cannot be given back."""
        end = offset + length
        for start in range(offset, end, ZERO_CHUNK):
            stop = min(end, start + ZERO_CHUNK)
            self._view[start:stop] = self._zeros[: stop - start]

    def close(self) -> None:
        """Free it."""
        self._view.release()
        self._map.close()


class File:
    """Blocks in a file, made when it is absent; it keeps what was there."""

    def __init__(self, path: str, size: int, room: int) -> None:
        """Open it; *room* is the longest request.

        Raises:
            DaemonIOError: it cannot be opened, or not be made that large.
        """
        self.size = size
        self._room = room
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if os.fstat(self._fd).st_size < size:
                    os.ftruncate(self._fd, size)
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            raise DaemonIOError.of("serve blocks from", path, error, "correct settings.path") from error

    def read(self, node: int, at: int, offset: int, length: int) -> None:
        """By two calls, and a buffer between them."""
        data = os.pread(self._fd, length, offset)
        _whole(os.pwrite(node, data.ljust(length, b"\0"), at), length)

    def write(self, node: int, at: int, offset: int, length: int) -> None:
        """By two calls, and a buffer between them."""
        data = os.pread(node, length, at)
        _whole(os.pwrite(self._fd, data, offset), length)

    def flush(self) -> None:
        """fdatasync(2)."""
        os.fdatasync(self._fd)

    def zero(self, offset: int, length: int) -> None:
        """Written, piece by piece: every file system can."""
        zeros = bytes(min(length, ZERO_CHUNK))
        for start in range(offset, offset + length, ZERO_CHUNK):
            os.pwrite(self._fd, zeros[: offset + length - start], start)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _whole(done: int, length: int) -> None:
    if done != length:
        raise OSError(errno.EIO, f"{done} of {length} bytes")
