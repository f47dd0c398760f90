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

REMOVED_WITHIN = 1.0
"""Seconds to wait for the second of two reports, a kill and the removal, where the first of them does not say which it is: the kernel tells of
a removal from a work queue, some milliseconds after the rmdir on an idle machine.
"""


class MemoryWatch:
    """The kernel's word about one group, taken as it comes."""

    def __init__(self, folder: str, fd: int) -> None:
        """Listen to the eventfd *fd*, which is closed by `close`. Runs in an event loop."""
        self._folder = folder
        self._fd = fd
        self._told = 0
        counted = kills_in(folder)
        self._counts = counted is not None
        self._hit = bool(counted)  # before anybody listened
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._on_report)

    def _on_report(self) -> None:
        there = os.path.exists(self._folder)
        try:
            self._told += os.eventfd_read(self._fd)
        except BlockingIOError:
            return  # read a moment ago
        kills = kills_in(self._folder)
        # Of a kernel that does not count, a report while the group is there says the same.
        self._hit = self._hit or bool(kills) or (there and not self._counts)
        self._news.set()

    async def ran_out(self) -> bool:
        """Whether a process of the group was killed for memory, asked after the end of its main process."""
        if self._fd >= 0:
            self._on_report()
        if self._hit or kills_in(self._folder):
            return True
        if os.path.exists(self._folder) or not self._told:
            return False  # the kernel tells of a kill before it ends the process
        try:
            async with asyncio.timeout(REMOVED_WITHIN):
                while self._told < 2:  # it has gone: a kill and the removal, or the removal alone
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop listening."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


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
