"""Print a log as it grows, across rotation: `duende logs -f`."""

from __future__ import annotations

import os
import sys
import time

LOOK_EVERY = 0.2
"""Seconds between looks; inotify would save these few wake-ups of a command somebody is watching, at the price of a dependency."""


def follow(path: str, start: int) -> None:
    """Print what is in *path* from byte *start* on, and what is added, until interrupted."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.lseek(fd, start, os.SEEK_SET)
    while True:
        data = os.read(fd, 1 << 16)
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            continue
        try:
            moved = os.stat(path).st_ino != os.fstat(fd).st_ino
        except FileNotFoundError:
            moved = False  # between rename and the new file
        if moved:
            os.close(fd)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        else:
            time.sleep(LOOK_EVERY)
