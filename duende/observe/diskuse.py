"""How much room folders take on disk, as du(1) counts it: blocks, and what has several names once."""

from __future__ import annotations

import os
from collections.abc import Iterable

BLOCK = 512
"""Bytes in which st_blocks counts (stat(2)), whatever the file system's own are."""


def disk_usage(paths: Iterable[str]) -> int:
    """Bytes that *paths* and all below them take; what is not there, or may not be seen, takes none. Symbolic links are not followed."""
    seen: set[tuple[int, int]] = set()
    total = 0
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        try:
            about = os.lstat(path)
        except OSError:
            continue  # it has gone, or is in a folder that may not be entered
        key = (about.st_dev, about.st_ino)
        if key in seen:
            continue
        seen.add(key)
        total += about.st_blocks * BLOCK
        if (about.st_mode & 0o170000) == 0o040000:
            try:
                waiting += [f"{path}/{name}" for name in os.listdir(path)]
            except OSError:
                continue  # du cannot list it either
    return total
