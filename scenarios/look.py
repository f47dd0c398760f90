"""What can be seen of processes from outside (proc(5)), and a pidfd to wait with: independent of what duende
says.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fixtures.procs import start_time

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class Watched:
    """A process held by its pidfd."""

    __slots__ = ("born", "fd", "pid")

    def __init__(self, pid: int) -> None:
        """Take hold of it.

        Raises:
            ProcessLookupError: there is none.
            ValueError: the number means something else to kill(2).
        """
        if pid <= 1:
            raise ValueError(f"cannot watch pid {pid}")
        self.fd = os.pidfd_open(pid)
        self.pid = pid
        self.born = start_time(pid)

    def send(self, number: int) -> bool:
        """Send a signal to exactly this process; False when it has ended."""
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            return False
        return True

    async def dead(self, within: float) -> bool:
        """Wait until it has ended; False when it has not *within* so many seconds."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        # A duplicate, because the loop may still know the number of a descriptor that somebody closed.
        fd = os.dup(self.fd)
        loop.add_reader(fd, _finish, ended)
        try:
            await asyncio.wait_for(ended, within)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    def close(self) -> None:
        """Let go."""
        os.close(self.fd)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def state_of(pid: int) -> str:
    """The kernel's letter for the state of a process (R, S, T, Z ...), empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text[text.rindex(")") + 2]


def alive(pid: int) -> bool:
    """Whether it exists and is no zombie."""
    return state_of(pid) not in ("", "Z", "X")


def space_of(pid: int) -> str:
    """The pid namespace of a process, empty when there is none."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def outside(pid: int, space: str) -> int:
    """What this side calls the process that is *pid* in the pid namespace *space* (pid_namespaces(7)).

    Raises:
        ProcessLookupError: there is none.
    """
    if space == space_of(os.getpid()):
        return pid
    for name in os.listdir("/proc"):
        if not name.isdecimal() or space_of(int(name)) != space:
            continue
        try:
            status = Path(f"/proc/{name}/status").read_text()
        except OSError:
            continue
        numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if numbers and int(numbers[-1]) == pid:
            return int(name)
    raise ProcessLookupError(f"no process {pid} in {space}")


def tree(root: int) -> list[int]:
    """*root* and everything below it."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            below.setdefault(int(text[text.rindex(")") + 2 :].split()[1]), []).append(int(name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(below.get(pid, ()))
    return found


def command_line(pid: int) -> list[str]:
    """The arguments of a process, nothing when it is gone or a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.split(b"\0") if part]


def cpu_ms(pids: Iterable[int]) -> float:
    """CPU time of living processes, all their threads, from the scheduler's nanoseconds."""
    total = 0.0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) / 1e6
        except (OSError, IndexError):
            continue
    return total


def descriptors(pids: Iterable[int]) -> int:
    """Open file descriptors, all together."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return total


def private_kib(pids: Iterable[int]) -> int:
    """Memory that would come back if they ended (Private_Dirty and Private_Clean), in KiB."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
    return total


async def until(condition: Callable[[], object], within: float, step: float = 0.01) -> bool:
    """Look every *step* seconds whether the callable *condition* says yes; whether in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(step)
    return True


def target(pid: int, descriptor: int) -> str:
    """What a descriptor of a process is (/proc/<pid>/fd): `pipe:[123]`, a path; empty when not open."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return ""
