"""The kernel's own word about a container on this host: that it has ended, how, and whether memory was the cause.

A pidfd of its process 1 gets readable when that process is dead, and then every process of its pid namespace is (pid_namespaces(7)). A runtime
that hangs or is gone changes nothing about it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from duende.adapters.container.cgroup import Group, group_of
from duende.kernel.pidfd import exit_of
from duende.kernel.process import LOWEST_PID, children_of, read_stat, status_fields
from duende.states import ProcessExit

CHILD_TRIES = 20
CHILD_EVERY = 0.005
"""Seconds: docker-init and catatonit fork within a few milliseconds."""


class Watch:
    """Process 1 of one container and its main process, held by pidfds."""

    def __init__(self, first: int, first_started: int, main: int, group: Group, fds: tuple[int, int]) -> None:
        self.first = first
        """Process 1 of the container, as numbered here."""
        self.first_started = first_started
        self.main = main
        """The daemon's process: the same, or the child of the runtime's init."""
        self.main_started = 0
        self.group = group
        self.ended = False
        """Process 1 is dead, and with it all others."""
        self.executed = True
        """The main process runs the daemon's program; False where it ended before it was seen to."""
        self.out_of_memory = False
        """The kernel counted a kill for memory in its control group."""
        self._fds = fds
        self._namespace = _namespace(first)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_end: Callable[[], None] = _nobody

    def begin(self, on_end: Callable[[], None]) -> None:
        """Call *on_end* once when process 1 is dead."""
        self._loop, self._on_end = asyncio.get_running_loop(), on_end
        self._loop.add_reader(self._fds[0], self._readable)

    def owns(self, pid: int) -> bool:
        """Whether process *pid* is in this container: its main process, or one of its pid namespace."""
        return pid in (self.main, self.first) or (
            self._namespace != "" and _namespace(pid) == self._namespace
        )

    def runs(self) -> bool:
        """Whether the main process executes something else than process 1 by now."""
        return self.main != self.first and _image(self.main) not in ("", _image(self.first))

    def deaf_to(self, number: int) -> bool:
        """Whether the main process is process 1 and does neither catch nor ignore signal *number*: then the kernel drops it."""
        if self.main != self.first:
            return False
        fields = status_fields(self.main)
        bit = 1 << (number - 1)
        try:
            return not (int(fields["SigCgt"], 16) | int(fields["SigIgn"], 16)) & bit
        except (KeyError, ValueError):
            return False

    def over(self) -> bool:
        """Whether process 1 is dead and nothing is left in its control group."""
        stat = read_stat(self.first)
        there = stat is not None and stat.start_time == self.first_started and stat.state not in "ZX"
        return not there and not self.group.processes()

    def exit(self) -> ProcessExit:
        """How the main process ended, as far as the kernel tells; known only after it was reaped."""
        return exit_of(self._fds[1])

    def close(self) -> None:
        """Let go."""
        if self._loop is not None:
            self._loop.remove_reader(self._fds[0])
            self._loop = None
        for fd in set(self._fds):
            if fd >= 0:
                os.close(fd)
        self._fds = (-1, -1)

    def _readable(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._fds[0])
            self._loop = None
        # Its control group is removed some milliseconds from now, by the runtime's shim.
        self.out_of_memory = self.group.oom_kills() > 0
        self.ended = True
        self._on_end()


def _nobody() -> None:
    return None


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


async def watch(container: str, pid: int, *, init: bool) -> Watch | None:
    """Hold process *pid* of *container*; None where it is not (any more) on this host.

    With *init* the main process is the child of process 1.
    """
    if pid < LOWEST_PID:
        return None
    try:
        first = os.pidfd_open(pid)
    except OSError:
        return None
    group, stat = group_of(pid, container), read_stat(pid)
    if group is None or stat is None or _namespace(pid) == _namespace(os.getpid()):
        os.close(first)
        return None
    main, fd, executed = pid, first, True
    if init:
        main, fd, executed = await _child(pid, first)
    found = Watch(pid, stat.start_time, main, group, (first, fd))
    found.executed = executed
    child = read_stat(main)
    found.main_started = child.start_time if child is not None else 0
    return found


async def _child(first: int, first_fd: int) -> tuple[int, int, bool]:
    """(pid, pidfd, whether it runs its program) of the only child of the init *first*: until it executes that, it is a copy of the init."""
    child, fd = first, first_fd
    image = _image(first)
    for _ in range(CHILD_TRIES):
        if child == first and (children := children_of(first)):
            try:
                child, fd = children[0], os.pidfd_open(children[0])
            except OSError:
                return first, first_fd, False
        if child != first:
            now = _image(child)
            if not now:
                break
            if now != image:
                return child, fd, True
        await asyncio.sleep(CHILD_EVERY)
    return child, fd, False


def _image(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""
