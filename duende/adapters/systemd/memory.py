"""Kills for memory on cgroup v1, where systemd says `signal` and not `oom-kill` (seen with 252: it reads memory.events of v2 only).

The kernel tells of them through an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, 10. OOM Control): it adds one for each time that the
group is out of memory, and one when the group is removed. systemd removes the group a moment after its last process, so the counter that is in
there as well (`oom_kill` in memory.oom_control) is gone before anybody can ask; the eventfd is not.
"""

from __future__ import annotations

import asyncio
import os

from duende.adapters.systemd.facts import CGROUPS
from duende.kernel.process import LOWEST_PID

REMOVED_WITHIN = 0.2
"""Seconds for the eventfd to tell that a group is removed: the kernel does it from a work queue, some milliseconds after the rmdir."""
LOOK_EVERY = 0.005


class MemoryWatch:
    """The kernel's word about one group."""

    def __init__(self, folder: str, fd: int) -> None:
        self._folder = folder
        self._fd = fd
        self._told = 0

    async def ran_out(self) -> bool:
        """Whether a process of the group was killed for memory; asked after the end, it waits for the group to be removed or not."""
        deadline = asyncio.get_running_loop().time() + REMOVED_WITHIN
        while True:
            there = os.path.exists(self._folder)
            self._told += self._read()
            if (
                there and self._told
            ):  # read while the group was there: only memory can have told, and the group counts whom it hit
                kills = kills_in(self._folder)
                if kills is not None:
                    return kills > 0
            if self._told > 1:
                return True  # the removal is one of them
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(LOOK_EVERY)

    def close(self) -> None:
        """Stop listening."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> int:
        try:
            return os.eventfd_read(self._fd) if self._fd >= 0 else 0
        except BlockingIOError:
            return 0


def kills_in(folder: str) -> int | None:
    """How many processes of the group in *folder* were killed for memory; None once it is gone, or where the kernel does not count."""
    try:
        with open(f"{folder}/memory.oom_control", encoding="ascii") as file:
            words = dict(line.split(None, 1) for line in file if " " in line)
        return int(words["oom_kill"])
    except (OSError, KeyError, ValueError):
        return None


def group_for(unit: str, cgroup: str) -> str:
    """The group of *unit* among those of a process (/proc/PID/cgroup, cgroups(7)) that has memory on cgroup v1; empty where it has none."""
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(",") and path.rsplit("/", 1)[-1] == unit:
            return path
    return ""


def watch(unit: str, pid: int, root: str = CGROUPS) -> MemoryWatch | None:
    """Listen for kills in the group of *unit*, whose process is *pid* as numbered here; None where cgroup v1 has no such group or no right."""
    if pid < LOWEST_PID:
        return None
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            group = group_for(unit, file.read())
    except OSError:
        return None  # it has ended already
    folder = f"{root}/memory{group}"
    if not group or not os.path.exists(f"{folder}/memory.oom_control"):
        return None
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        source = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(f"{folder}/cgroup.event_control", "w", encoding="ascii") as control:
                control.write(f"{fd} {source}")
        finally:
            os.close(source)
    except OSError:
        os.close(fd)
        return None
    return MemoryWatch(folder, fd)
