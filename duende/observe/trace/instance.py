"""An instance of the kernel's tracer (Documentation/trace/ftrace.rst) for the system calls of a few threads and whatever they start.

tracefs is reached by a mount of its own that has no place in any namespace (fsopen(2), fsmount(2)): nothing is mounted that could be left
behind. The instance itself is a folder in the kernel; a guard, a process that waits for the end of this one, removes it when nobody else did.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

from duende.errors import SerializationError, TracerFailedError
from duende.kernel.process import read_stat
from duende.kernel.raw import syscall
from duende.kernel.syscalls import X86_64
from duende.observe.trace.page import ENTER_FIELDS, EXIT_FIELDS, FORKS, Event, Ids, event_id, offset_of, parse

FSOPEN, FSCONFIG, FSMOUNT = (X86_64[name] for name in ("fsopen", "fsconfig", "fsmount"))
"""The same numbers on every machine."""
CREATE = 6
"""FSCONFIG_CMD_CREATE (linux/mount.h)."""
CLOEXEC = 1
"""FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC."""
BUFFER_KB = 4096
"""Of each processor: some 40 000 calls until they are read."""
LONGEST_PAGE = 1 << 16
MOST_PAGES = 2 * BUFFER_KB // 4
"""Read at once from one processor: who is faster than the reader must not hold it for ever."""
NAME = re.compile(r"duende-(\d+)-(\d+)-\d+")
CALLS = ("raw_syscalls/sys_enter", "raw_syscalls/sys_exit")
FORK = "sched/sched_process_fork"
REMOVALS = 50
"""Tries, a tenth of a second apart: an instance whose files are open cannot be removed yet."""
PROBES = 5
GUARD = """
import os, sys, time
sys.stdin.buffer.read()
for _ in range(50):
    try:
        os.rmdir("instances/" + sys.argv[2], dir_fd=int(sys.argv[1]))
    except FileNotFoundError:
        break
    except OSError:
        time.sleep(0.1)
    else:
        break
"""


def tracefs() -> int:
    """A descriptor of tracefs.

    Raises:
        OSError: the kernel has none, or this user may not mount it.
    """
    context = syscall(FSOPEN, b"tracefs", ctypes.c_uint(CLOEXEC))
    try:
        syscall(FSCONFIG, ctypes.c_int(context), ctypes.c_uint(CREATE), None, None, ctypes.c_int(0))
        return syscall(FSMOUNT, ctypes.c_int(context), ctypes.c_uint(CLOEXEC), ctypes.c_uint(0))
    finally:
        os.close(context)


def started(pid: int) -> int:
    """The start time of a process, 0 where there is none of that number."""
    stat = read_stat(pid)
    return stat.start_time if stat is not None else 0


class Instance:
    """An instance, from its making to its removal."""

    _made = 0

    def __init__(self) -> None:
        """Make it, with nothing traced.

        Raises:
            TracerFailedError: this kernel, or this user's rights, do not allow it.
        """
        self.lost = 0
        """Events that the buffers had no room for."""
        self._guard: subprocess.Popen[bytes] | None = None
        self._pipes: list[int] = []
        self._removed = False
        try:
            self._root = tracefs()
        except OSError as error:
            raise TracerFailedError(
                f"tracefs cannot be mounted: {error.strerror}",
                remedy="tracing in the kernel needs CAP_SYS_ADMIN",
            ) from error
        Instance._made += 1
        self.name = f"duende-{os.getpid()}-{started(os.getpid())}-{Instance._made}"
        try:
            sweep(self._root)
            os.mkdir(f"instances/{self.name}", dir_fd=self._root)
            self._watched()
            self._ids = self._set_up()
        except (OSError, SerializationError) as error:
            self.remove()
            raise TracerFailedError(
                f"the kernel's tracer cannot be used: {error}", remedy="tracing in the kernel needs root"
            ) from error

    def follow(self, tids: Iterable[int], *, more: bool = False) -> None:
        """Trace these threads, and what they start; *more* adds them to those traced already."""
        # An empty list would trace every thread of the machine: a number that nobody has stands for nobody.
        text = " ".join(str(tid) for tid in tids) or str(_nobody())
        self._write("set_event_pid", text, os.O_APPEND if more else os.O_TRUNC)

    def proven(self) -> bool:
        """Whether what this very thread does is seen: in a pid namespace of its own it is known to the kernel by another number."""
        own = threading.get_native_id()
        self.follow([own])
        for _ in range(PROBES):
            os.getppid()
        self.follow([])  # before reading, which would make events to be read
        return any(event[2] == own and event[1] != FORKS for event in self.read())

    def read(self) -> list[Event]:
        """All events there are now, each processor's in order."""
        events: list[Event] = []
        for pipe in self._pipes:
            for _ in range(MOST_PAGES):
                try:
                    page = os.read(pipe, LONGEST_PAGE)
                except BlockingIOError:
                    break
                if not page:
                    break
                found = parse(page, self._ids)
                events += found.events
                self.lost += found.lost
        return events

    def remove(self) -> None:
        """Stop tracing and take the instance away; twice is once."""
        if self._removed:
            return
        self._removed = True
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = []
        for name in (*CALLS, FORK):
            try:
                self._write(f"events/{name}/enable", "0")
            except OSError:
                pass  # it was not made, or is gone: there is nothing to stop
        for _ in range(REMOVALS):
            try:
                os.rmdir(f"instances/{self.name}", dir_fd=self._root)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(
                    0.1
                )  # the kernel is still at work in it; a thread of the tracer's own waits here, no loop
            else:
                break
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(timeout=10)
        os.close(self._root)

    def _watched(self) -> None:
        line = [sys.executable, "-S", "-E", "-c", GUARD, str(self._root), self.name]
        self._guard = subprocess.Popen(
            line, stdin=subprocess.PIPE, pass_fds=(self._root,), start_new_session=True
        )

    def _set_up(self) -> Ids:
        enter, leave, fork = (self._text(f"events/{name}/format") for name in (*CALLS, FORK))
        ids = Ids(
            event_id(enter, CALLS[0], ENTER_FIELDS),
            event_id(leave, CALLS[1], EXIT_FIELDS),
            event_id(fork, FORK, (("common_type", 0, 2),)),
            offset_of(fork, "parent_pid"),
            offset_of(fork, "child_pid"),
        )
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(BUFFER_KB))
        self._write("options/event-fork", "1")
        folder = os.open(f"instances/{self.name}/per_cpu", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._root)
        try:
            processors = sorted(os.listdir(folder))
        finally:
            os.close(folder)
        for cpu in processors:
            path = f"instances/{self.name}/per_cpu/{cpu}/trace_pipe_raw"
            self._pipes.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._root))
        self.follow([])
        for name in (FORK, *CALLS):
            self._write(f"events/{name}/enable", "1")
        return ids

    def _text(self, name: str) -> str:
        fd = os.open(f"instances/{self.name}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        with open(fd, encoding="ascii") as file:
            return file.read()

    def _write(self, name: str, text: str, flags: int = 0) -> None:
        fd = os.open(f"instances/{self.name}/{name}", os.O_WRONLY | os.O_CLOEXEC | flags, dir_fd=self._root)
        try:
            os.write(fd, text.encode() + b"\n")
        finally:
            os.close(fd)


def _nobody() -> int:
    """A number that no thread has: the largest there may be."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        return int(file.read()) - 1


def sweep(root: int) -> list[str]:
    """Remove instances whose maker is gone, and its guard too; their names."""
    removed = []
    folder = os.open("instances", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        names = os.listdir(folder)
    finally:
        os.close(folder)
    for name in names:
        found = NAME.fullmatch(name)
        if found is not None and started(int(found[1])) != int(found[2]):
            try:
                os.rmdir(f"instances/{name}", dir_fd=root)
                removed.append(name)
            except OSError:
                pass  # its guard is at it, or another tracer
    return removed
