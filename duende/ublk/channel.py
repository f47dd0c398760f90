"""How a command gets to the driver: over io_uring, each with a deadline; one that is late is cancelled, and waited for until the kernel has let go
of its memory.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Protocol

from duende.errors import PlatformTimeoutError, UblkError
from duende.kernel.uring import Ring
from duende.ublk.layout import CONTROL, Op

ENTRIES = 4
DRAIN_S = 5.0
"""Seconds that a cancelled command may take to come back."""


class Channel(Protocol):
    """Carries commands; the kernel's driver, or a model of it in tests."""

    def carry(self, operation: Op, payload: bytes, timeout: float) -> int:
        """The result: 0 or more, or an error number below 0."""

    def close(self) -> None:
        """Let go."""


class KernelChannel:
    """The control device of this kernel."""

    def __init__(self, path: str = CONTROL) -> None:
        """Open it.

        Raises:
            UblkError: there is no such device (ENOENT), it may not be opened (EACCES), or there is no io_uring that carries commands.
        """
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            remedies = {
                errno.ENOENT: "load the driver (modprobe ublk_drv; Linux 6.0 with CONFIG_BLK_DEV_UBLK)",
                errno.ENXIO: "load the driver (modprobe ublk_drv)",
                errno.EACCES: "become root, or be given the device",
                errno.EPERM: "become root, or be given the device",
            }
            raise _refused(f"open {path}", error, remedies) from error
        try:
            self._ring = Ring(ENTRIES, wide=True)
        except OSError as error:
            os.close(self._fd)
            remedies = {
                errno.EPERM: "allow io_uring: sysctl kernel.io_uring_disabled=0, and no seccomp filter",
                errno.EINVAL: "use Linux 5.19 or newer",
                errno.ENOSYS: "use Linux 5.19 or newer",
            }
            raise _refused("make an io_uring", error, remedies) from error
        self._mark = 0

    def carry(self, operation: Op, payload: bytes, timeout: float) -> int:
        """The command's result; raises as `Channel` says.

        Raises:
            PlatformTimeoutError: it did not end within *timeout* seconds, and was cancelled.
        """
        mark = self._next()
        self._ring.command(self._fd, operation, payload, mark)
        self._ring.submit()
        found = self._await(mark, timeout)
        if found is not None:
            return found
        self._ring.cancel(mark, self._next())
        self._ring.submit()
        found = self._await(mark, DRAIN_S)
        if found is not None and found >= 0:
            return found  # it was done in the last moment
        raise PlatformTimeoutError(f"do {operation.name} of ublk", timeout)

    def close(self) -> None:
        """Close both."""
        self._ring.close()
        os.close(self._fd)

    def _next(self) -> int:
        self._mark += 1
        return self._mark

    def _await(self, mark: int, timeout: float) -> int | None:
        """The result of that one; None if it does not come in time."""
        deadline = time.monotonic() + timeout
        while True:
            # Others are those of cancellations, and of commands that nobody waits for any more.
            for each, result in self._ring.completions():
                if each == mark:
                    return result
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._ring.submit(1, left)


def _refused(doing: str, error: OSError, remedies: dict[int, str]) -> UblkError:
    number = error.errno or 0
    return UblkError(
        f"cannot {doing}: {error.strerror}", errno=number, command="open", remedy=remedies.get(number, "")
    )
