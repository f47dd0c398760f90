"""What a tree of processes is and costs, from /proc (proc(5)); signals that reach only whom they should."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")


class Gone(Exception):  # noqa: N818 - it is a fact, not a mistake
    """The process has ended meanwhile."""


class Stat:
    """The fields of /proc/<pid>/stat that are used here; times in ms, those of reaped children apart."""

    __slots__ = ("cpu_ms", "pid", "ppid", "reaped_ms", "state")

    def __init__(self, pid: int) -> None:
        """Read it.

        Raises:
            Gone: there is no such process.
        """
        try:
            text = (PROC / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError) as error:
            raise Gone(pid) from error
        fields = text[text.rindex(")") + 2 :].split()
        self.pid = pid
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.cpu_ms = (int(fields[11]) + int(fields[12])) * 1000 / TICK
        self.reaped_ms = (int(fields[13]) + int(fields[14])) * 1000 / TICK


def all_stats() -> list[Stat]:
    """Every process that can be seen."""
    found = []
    for name in os.listdir(PROC):
        if name.isdecimal():
            try:
                found.append(Stat(int(name)))
            except Gone:
                continue
    return found


def descendants(root: int) -> list[int]:
    """*root* and everything below it, zombies included."""
    below: dict[int, list[int]] = {}
    for stat in all_stats():
        below.setdefault(stat.ppid, []).append(stat.pid)
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(below.get(pid, ()))
    return found


def runs(pid: int, program: Path) -> bool:
    """Whether the process executes that *program*."""
    try:
        return os.path.realpath(PROC / str(pid) / "exe") == str(program)
    except OSError:
        return False


def cpu_ms(pids: Iterable[int]) -> float:
    """CPU time of the processes and of their children that ended, in ms.

    Of what is alive the scheduler's nanoseconds are summed (schedstat), because a thousand processes with
    less than a tick each would add up to nothing; what ended is only known in ticks.
    """
    total = 0.0
    for pid in pids:
        try:
            stat = Stat(pid)
            exact = 0.0
            for task in os.listdir(PROC / str(pid) / "task"):
                exact += int((PROC / str(pid) / "task" / task / "schedstat").read_text().split()[0]) / 1e6
        except (Gone, OSError):
            continue
        total += max(exact, stat.cpu_ms) + stat.reaped_ms
    return total


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: shared pages are divided among those who share them."""
    total = 0
    for pid in pids:
        try:
            text = (PROC / str(pid) / "smaps_rollup").read_text()
        except (OSError, ProcessLookupError):
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


class Held:
    """A process held by its pidfd: whatever is done reaches that process and no later owner of its number."""

    __slots__ = ("fd", "pid")

    def __init__(self, pid: int) -> None:
        """Take hold of it.

        Raises:
            Gone: there is no such process.
            ValueError: the number means something else to kill(2).
        """
        if pid <= 1:
            raise ValueError(f"cannot hold pid {pid}")
        try:
            self.fd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise Gone(pid) from error
        self.pid = pid

    def send(self, number: int) -> None:
        """Send a signal, if it is still there."""
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            return

    def dead(self, timeout: float = 0.0) -> bool:
        """Whether it has ended, waiting up to *timeout* seconds for that."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return bool(poller.poll(max(0, int(timeout * 1000 + 0.5))))

    def close(self) -> None:
        """Let go."""
        os.close(self.fd)


def hold(pids: Iterable[int], program: Path | None = None) -> list[Held]:
    """Hold all of *pids* that are alive; with *program* only those that execute it."""
    found = []
    for pid in pids:
        try:
            held = Held(pid)
        except Gone:
            continue
        if program is not None and not runs(pid, program):
            held.close()
            continue
        found.append(held)
    return found


def all_dead(group: Sequence[Held], timeout: float) -> bool:
    """Wait until all of the *group* have ended; sleeping on one at a time wakes this process seldom."""
    deadline = time.monotonic() + timeout
    return all(held.dead(max(0.0, deadline - time.monotonic())) for held in group)


def end(group: Sequence[Held], patience: float) -> bool:
    """TERM, up to *patience* seconds, KILL, as long again; whether all are gone. Lets go of all."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for held in group:
            held.send(number)
        if all_dead(group, patience):
            break
    gone = all_dead(group, 0.0)
    for held in group:
        held.close()
    return gone
