"""Signal handlers without the module `signal`, which brings `enum`: only memory and time to a process that stays as small as the warden."""

from __future__ import annotations

# What `signal` itself is built on, present wherever it is; numbers are those of Linux (signal(7)).
from _signal import SIG_IGN, set_wakeup_fd, signal  # type: ignore[import-not-found]

SIGHUP, SIGINT, SIGTERM, SIGCHLD = 1, 2, 15, 17


def ignore(*numbers: int) -> None:
    """Ignore these signals."""
    for number in numbers:
        signal(number, SIG_IGN)


def wake(fd: int, number: int) -> None:
    """Write a byte to *fd*, which does not block, whenever signal *number* comes."""
    set_wakeup_fd(fd, warn_on_full_buffer=False)
    signal(number, _nothing)


def no_wakeup() -> None:
    """In a child: write to nobody's descriptor when a signal comes."""
    set_wakeup_fd(-1)


def _nothing(*_: object) -> None:
    """The byte is all that is wanted."""
