"""Which disk a folder is on: what limits of input and output are for."""

from __future__ import annotations

import os


def disk_of(folder: str) -> str:
    """The node in /sys of the whole disk that *folder* is on, empty where there is none (overlay, tmpfs, another host's folder).

    /sys has it also where no udev makes /dev/block; a partition is throttled by its whole disk (blk-throttle takes no other).
    """
    try:
        number = os.stat(folder).st_dev
    except OSError:
        return ""
    node = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if os.path.exists(f"{node}/partition"):
        node = os.path.dirname(node)
    return node if os.path.isdir(node) else ""
