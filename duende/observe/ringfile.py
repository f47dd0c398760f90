"""A history on disk that never grows beyond its size: a ring of fixed records, each with its own checksum.

A record is in the kernel's page cache once `append` returns, so it outlives the process that wrote it, however that one ends; nothing is
synchronised to the disk: after a power cut the last seconds may be missing, and a record that was torn is known by its checksum.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterator, Sequence

from duende.errors import ConfigError, DaemonIOError, SerializationError

MAGIC = b"duendeH1"
_HEAD = struct.Struct("<8sII")
"""Magic, bytes of a payload, records; a CRC-32 of these follows."""
_SUM = struct.Struct("<I")
_SEQUENCE = struct.Struct("<Q")
HEAD = 64
"""Bytes before the first record."""


class RingFile:
    """The last *capacity* payloads of *width* bytes each. One writer at a time."""

    def __init__(self, path: str, width: int, capacity: int) -> None:
        """Open the file, or make it.

        Raises:
            ConfigError: *width* or *capacity* is below 1.
            DaemonIOError: it cannot be opened, or not be written.
            SerializationError: it is something else, or has records of another size; it is as it was.
        """
        if width < 1 or capacity < 1:
            raise ConfigError(
                f"a ring of {capacity} records of {width} bytes", remedy="use 1 or more of both"
            )
        self.path = path
        self.width = width
        self.capacity = capacity
        self.damaged = 0
        """Records that were found torn, and are left out."""
        self._stride = _SEQUENCE.size + width + _SUM.size
        self._next = 0
        """Number of the next record, counted from the first there ever was."""
        head = _HEAD.pack(MAGIC, width, capacity)
        self._head = (head + _SUM.pack(zlib.crc32(head))).ljust(HEAD, b"\0")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise DaemonIOError.of("open the history", path, error, "check the folder's rights") from error
        try:
            self._begin()
        except BaseException:
            os.close(self._fd)
            raise

    def _begin(self) -> None:
        try:
            found = os.pread(self._fd, HEAD, 0)
            if not found:
                os.pwrite(self._fd, self._head, 0)
                return
        except OSError as error:
            raise DaemonIOError.of("use the history", self.path, error, "make room on the disk") from error
        if found != self._head:
            raise SerializationError(
                f"{self.path} is no history of {self.capacity} records of {self.width} bytes",
                remedy="move it away",
            )
        for sequence, _ in self._records():
            self._next = max(self._next, sequence + 1)

    def __iter__(self) -> Iterator[bytes]:
        """All whole payloads, oldest first."""
        return iter([payload for _, payload in sorted(self._records())])

    def append(self, payloads: Sequence[bytes]) -> None:
        """Add payloads; the oldest make room. More than fit at once are the last of them.

        Raises:
            ValueError: one has another size.
            DaemonIOError: the disk is full, or does not take them; those that were there before remain, but for the oldest.
        """
        if any(len(each) != self.width for each in payloads):
            raise ValueError(f"payloads of {self.width} bytes are wanted")
        kept = payloads[-self.capacity :]
        place = self._next % self.capacity
        made = []
        for sequence, payload in enumerate(kept, self._next):
            raw = _SEQUENCE.pack(sequence) + payload
            made.append(raw + _SUM.pack(zlib.crc32(raw)))
        ahead = self.capacity - place
        try:
            for at, part in ((place, made[:ahead]), (0, made[ahead:])):
                raw = b"".join(part)
                if raw and os.pwrite(self._fd, raw, HEAD + at * self._stride) != len(raw):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as the next pwrite(2) would tell
        except OSError as error:
            raise DaemonIOError.of("write the history", self.path, error, "make room on the disk") from error
        self._next += len(kept)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _records(self) -> list[tuple[int, bytes]]:
        """What is whole, in the order of the file."""
        try:
            size = os.fstat(self._fd).st_size - HEAD
            raw = os.pread(self._fd, min(size, self.capacity * self._stride), HEAD) if size > 0 else b""
        except OSError as error:
            raise DaemonIOError.of("read the history", self.path, error, "check the disk") from error
        found: list[tuple[int, bytes]] = []
        self.damaged = 0
        for place, start in enumerate(range(0, len(raw), self._stride)):
            record = raw[start : start + self._stride]
            inside, told = record[: -_SUM.size], record[-_SUM.size :]
            whole = len(record) == self._stride and _SUM.unpack(told)[0] == zlib.crc32(inside)
            sequence = _SEQUENCE.unpack_from(inside)[0] if whole else -1
            if not whole or sequence % self.capacity != place:
                # The hole in a file that was cut short and went on is nothing that was written.
                self.damaged += len(record) < self._stride or any(record)
                continue
            found.append((sequence, inside[_SEQUENCE.size :]))
        return found
