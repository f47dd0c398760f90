"""One log file that rotates by size: path, path.1 (the newest old one) ... path.N."""

from __future__ import annotations

import os
import threading
import time

RETRY_EVERY = 1.0
"""Seconds between tries to open a file that could not be opened."""
NEWLINE = 10
CHECK_EVERY = 0.2
"""Seconds between looks whether somebody has moved or deleted the file."""


class LogFile:
    """Appends bytes, rotates before the file would grow beyond `max_bytes`, and never raises: what cannot be written is counted."""

    def __init__(self, path: str, max_bytes: int, backups: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.backups = backups
        self.lost_total = 0
        """Bytes dropped since the file was opened for the first time."""
        self.lost_unreported = 0
        self.why = ""
        """Why bytes were dropped last."""
        self._lost_unmarked = 0
        self._fd: int | None = None
        self._size = 0
        self._at_line_end = True
        self._written = 0
        """Bytes of the write under way that are in the file."""
        self._identity = (0, 0)
        self._unconfirmed = 0
        """Bytes written since the file was last seen in its place."""
        self._next_try = 0.0
        self._next_check = 0.0
        self._count = threading.Lock()

    def drop(self, size: int, why: str) -> None:
        """Count *size* bytes as lost."""
        with self._count:
            self.lost_total += size
            self.lost_unreported += size
            self._lost_unmarked += size
            self.why = why

    def take_lost(self) -> int:
        """Bytes lost since the last call."""
        with self._count:
            lost, self.lost_unreported = self.lost_unreported, 0
        return lost

    def write(self, data: bytes) -> None:
        """Append *data*, splitting it at a line end where the file rotates."""
        size, self._written, marked = len(data), 0, False
        try:
            self._check()
            if self._fd is None and not self._open():
                self.drop(len(data), self.why or "the log cannot be opened")
                return
            if self._lost_unmarked:
                # On a line of its own: what came before may have been cut in the middle of one.
                mark = f"[duende: {self._lost_unmarked} bytes of output were lost: {self.why}]\n"
                self._append(f"{'' if self._at_line_end else chr(10)}{mark}".encode())
                with self._count:
                    self._lost_unmarked = 0
            self._written, marked = 0, True
            while data:
                room = self.max_bytes - self._size
                if len(data) <= room:
                    self._append(data)
                    return
                cut = data.rfind(b"\n", 0, max(room, 0)) + 1
                if cut == 0 and self._size == 0:
                    cut = self.max_bytes  # one line longer than a whole file: cut it rather than grow
                self._append(data[:cut])
                data = data[cut:]
                self._rotate()
        except OSError as error:
            self.drop(size - (self._written if marked else 0), os.strerror(error.errno or 0))

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._fd is None:
                raise OSError(9, "the log is not open")
            written = os.write(self._fd, view)
            self._size += written
            self._unconfirmed += written
            self._written += written
            self._at_line_end = view[written - 1] == NEWLINE
            view = view[written:]

    def _open(self) -> bool:
        now = time.monotonic()
        if now < self._next_try:
            return False
        try:
            os.makedirs(os.path.dirname(self.path) or ".", mode=0o755, exist_ok=True)
            fd = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
            )
        except OSError as error:
            self.why = os.strerror(error.errno or 0)
            self._next_try = now + RETRY_EVERY
            return False
        found = os.fstat(fd)
        self._fd, self._size, self._identity = fd, found.st_size, (found.st_dev, found.st_ino)
        self._unconfirmed = 0
        return True

    def _check(self) -> None:
        now = time.monotonic()
        if self._fd is None or now < self._next_check:
            return
        self._next_check = now + CHECK_EVERY
        try:
            found = os.stat(self.path)
            same = (found.st_dev, found.st_ino) == self._identity
        except OSError:
            same = False
        if same:
            self._unconfirmed = 0
            return
        # Deleted, or moved away by logrotate: go on in a new file. What went into a deleted one since the last look is lost.
        if os.fstat(self._fd).st_nlink == 0 and self._unconfirmed:
            self.drop(self._unconfirmed, "the log was deleted")
        self._close()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._next_try = 0.0

    def _rotate(self) -> None:
        self._close()
        for number in range(self.backups, 1, -1):
            try:
                os.replace(f"{self.path}.{number - 1}", f"{self.path}.{number}")
            except FileNotFoundError:
                pass  # not that many yet
        if self.backups:
            os.replace(self.path, f"{self.path}.1")
        else:
            os.unlink(self.path)
        if not self._open():
            raise OSError(5, self.why)
