"""Processes of daemons: who one is, what belongs to it, and ending a straggler. By /proc and pidfd on Linux, by psutil on macOS.

launchd itself has no word for "everything that came of this job": it ends the process group of a main process that has ended, and what made
itself a session of its own escapes that. So what belongs to a daemon is found: its descendants while it lives, its session, and whatever
carries its mark in the environment. macOS hides the environment of its own programs (System Integrity Protection): of those only the first
two are known.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import msgspec

from duende.adapters.native.warden.tree import COOKIE
from duende.kernel.darwin import boot_session
from duende.kernel.process import LOWEST_PID, boot_id, environment_value, read_stat, send_signal


class Kin(msgspec.Struct, frozen=True):
    """One process: number and start time name it, the rest is for people."""

    pid: int
    born: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.pid} {self.name}"


class _Seen(msgspec.Struct, frozen=True):
    kin: Kin
    parent: int
    session: int
    marked: bool


def this_boot() -> str:
    """The id of this boot; empty where none is to be had."""
    return boot_session() if sys.platform == "darwin" else boot_id()


def born(pid: int) -> int:
    """Start of a process: clock ticks since boot on Linux, microseconds since 1970 on macOS; 0 when there is none (any more)."""
    if pid < LOWEST_PID:
        return 0
    if sys.platform == "darwin":
        return _born_by_psutil(pid)
    stat = read_stat(pid)
    return stat.start_time if stat is not None and stat.state not in "ZX" else 0


def is_stopped(pid: int, since: int) -> bool:
    """Whether the process is stopped (SIGSTOP)."""
    if sys.platform == "darwin":
        import psutil

        try:
            return born(pid) == since and psutil.Process(pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False  # it has ended
    stat = read_stat(pid)
    return stat is not None and stat.start_time == since and stat.state in "Tt"


def descendants(pid: int, since: int) -> list[Kin]:
    """Every process that came of *pid*, as far as their parents live; without itself."""
    if born(pid) != since:
        return []
    table = list(_table(""))
    found, pending = [], [pid]
    while pending:
        parent = pending.pop()
        children = [each.kin for each in table if each.parent == parent and each.kin.born >= since]
        found += children
        pending += [child.pid for child in children]
    return found


def family(daemon_id: str, session: int, since: int) -> list[Kin]:
    """Every living process that carries the daemon's mark, or is of the session that its main process made."""
    return [
        each.kin
        for each in _table(daemon_id)
        if each.kin.born >= since > 0 and (each.marked or (session >= LOWEST_PID and each.session == session))
    ]


def lives(kin: Kin) -> bool:
    """Whether it is still there."""
    return born(kin.pid) == kin.born


def kill(kin: Kin) -> bool:
    """KILL to that very process; False when it has ended.

    On Linux through a pidfd that was opened first and checked after. macOS has none: the start time is compared right before the signal.
    """
    if kin.pid < LOWEST_PID or not kin.born:
        return False
    if sys.platform != "linux":
        return lives(kin) and send_signal(kin.pid, signal.SIGKILL)
    try:
        fd = os.pidfd_open(kin.pid)
    except OSError:
        return False
    try:
        if not lives(kin):
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def _born_by_psutil(pid: int) -> int:
    import psutil

    try:
        process = psutil.Process(pid)
        return 0 if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 1e6)
    except psutil.Error:
        return 0


def _table(daemon_id: str) -> Iterator[_Seen]:
    """All processes but this one; marked are those of that daemon, none where it is empty."""
    if sys.platform == "darwin":
        yield from _table_by_psutil(daemon_id)
        return
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) < LOWEST_PID or int(entry) == os.getpid():
            continue
        stat = read_stat(int(entry))
        if stat is not None and stat.state not in "ZX":
            marked = bool(daemon_id) and environment_value(stat.pid, COOKIE) == daemon_id
            yield _Seen(Kin(stat.pid, stat.start_time, stat.comm), stat.ppid, stat.session, marked)


def _table_by_psutil(daemon_id: str) -> Iterator[_Seen]:
    import psutil

    for process in psutil.process_iter():
        if process.pid < LOWEST_PID or process.pid == os.getpid():
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            kin = Kin(process.pid, round(process.create_time() * 1e6), process.name())
            parent, session = process.ppid(), os.getsid(process.pid)
        except (psutil.Error, OSError):
            continue  # it has ended
        marked = False
        if daemon_id:
            try:
                marked = process.environ().get(COOKIE) == daemon_id
            except (psutil.Error, OSError):
                marked = False  # of another user, or one of macOS's own programs
        yield _Seen(kin, parent, session, marked)
