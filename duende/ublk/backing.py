"""Where a server keeps the blocks: in memory, or in a file. Data goes between the kernel's request and the backing through the device's own node
(`Feature.USER_COPY`), by one system call and without a buffer of ours where that can be.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import Protocol

from duende.errors import DaemonIOError

ZERO_CHUNK = 1 << 16


class Backing(Protocol):
    """Holds the blocks. Offsets and lengths are bytes within its size. Methods may be called from several threads, for blocks of their own."""

    size: int

    def read(self, node: int, at: int, offset: int, length: int, slot: int) -> None:
        """Give blocks to a request, whose data lies at *at* of the open *node*; of those with one *slot* there is one at a time."""

    def write(self, node: int, at: int, offset: int, length: int, slot: int) -> None:
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
        # All of it now: a request must not wait for memory that the kernel makes free by requests to us.
        self._map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        self._view = memoryview(self._map)
        self._zeros = bytes(ZERO_CHUNK)

    def read(self, node: int, at: int, offset: int, length: int, slot: int) -> None:  # noqa: ARG002
        """By pwrite(2) from the memory itself."""
        with self._view[offset : offset + length] as blocks:
            _whole(os.pwrite(node, blocks, at), length)

    def write(self, node: int, at: int, offset: int, length: int, slot: int) -> None:  # noqa: ARG002
        """By preadv(2) into the memory itself."""
        with self._view[offset : offset + length] as blocks:
            _whole(os.preadv(node, [blocks], at), length)

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
    """Blocks in a file, made when it is absent, or on a block device; it keeps what was there. Every request has a buffer of its own from the
    beginning, so that none needs memory when it comes.
    """

    def __init__(self, path: str, size: int, *, room: int, slots: int, direct: bool = False) -> None:
        """Open it; *room* is the longest request, *slots* how many there may be at a time. With *direct* the page cache is left out (O_DIRECT):
        whoever serves a swap device wants no second copy of what memory is short of.

        Raises:
            DaemonIOError: it cannot be opened, or not be made that large, or its file system knows no O_DIRECT.
        """
        self.size = size
        self._room = room
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_DIRECT if direct else 0)
        try:
            self._fd = os.open(path, flags, 0o600)
            try:
                about = os.fstat(self._fd)
                if stat.S_ISREG(about.st_mode) and about.st_blocks * 512 < size:
                    os.posix_fallocate(
                        self._fd, 0, size
                    )  # a disk that is full is told now, not in the middle
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            raise DaemonIOError.of("serve blocks from", path, error, "correct settings.path") from error
        self._map = mmap.mmap(-1, room * slots, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        self._buffers = memoryview(self._map)
        self._zeros = mmap.mmap(-1, ZERO_CHUNK, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def read(self, node: int, at: int, offset: int, length: int, slot: int) -> None:
        """By preadv(2) of the file and pwrite(2) to the request."""
        with self._buffers[slot * self._room : slot * self._room + length] as buffer:
            _whole(os.preadv(self._fd, [buffer], offset), length)
            _whole(os.pwrite(node, buffer, at), length)

    def write(self, node: int, at: int, offset: int, length: int, slot: int) -> None:
        """By preadv(2) of the request and pwrite(2) to the file."""
        with self._buffers[slot * self._room : slot * self._room + length] as buffer:
            _whole(os.preadv(node, [buffer], at), length)
            _whole(os.pwrite(self._fd, buffer, offset), length)

    def flush(self) -> None:
        """fdatasync(2)."""
        os.fdatasync(self._fd)

    def zero(self, offset: int, length: int) -> None:
        """Written, piece by piece: every file system can."""
        for start in range(offset, offset + length, ZERO_CHUNK):
            piece = memoryview(self._zeros)[: min(ZERO_CHUNK, offset + length - start)]
            _whole(os.pwrite(self._fd, piece, start), len(piece))

    def close(self) -> None:
        """Close it."""
        self._buffers.release()
        self._map.close()
        os.close(self._fd)


def _whole(done: int, length: int) -> None:
    if done != length:
        raise OSError(errno.EIO, f"{done} of {length} bytes")
