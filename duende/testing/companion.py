"""A process beside the daemon that is a fault, or guards one. Run as a script, with nothing but the standard library.

It talks over one socket on descriptors 0 and 1, in lines, and it never outlives its owner: the end of the socket ends it, and so does
PR_SET_PDEATHSIG (prctl(2)), should a copy of the socket have leaked into a child of the owner.

    guard               "stop PID BORN" and "cont PID BORN" pause and resume a process by its start time (proc(5), field 22); whatever is
                        still paused when the owner is gone is resumed. Answers with the state of the process.
    memory BYTES [PROCS ...]
                        joins the control groups of those cgroup.procs files where it may, then takes and touches that many bytes
    cpu SHARE           burns that share of one core, by turns of 10 ms
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PAGE = 4096
TURN = 0.010
SETTLE = 1.0
"""Seconds for a stopped process to be seen as stopped: it may be inside a system call."""


class Process:
    """Another process, held by a pidfd so that its number cannot come to mean somebody else."""

    def __init__(self, pid: int, born: int) -> None:
        if pid <= 1:
            raise ProcessLookupError(f"pid {pid} is never signalled")
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        found = self._field(22)
        if found != str(born):
            os.close(self.fd)
            raise ProcessLookupError(f"process {pid} is another one by now")

    def _field(self, number: int) -> str:
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                raw = file.read()
        except OSError:
            return ""
        return raw[raw.rindex(b")") + 2 :].split()[number - 3].decode()

    def turn(self, number: int, wanted: str) -> str:
        """Send a signal and wait until the state is one of *wanted*; gives the state last seen, "" when it is gone."""
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            return ""
        end = time.monotonic() + SETTLE
        while (state := self._field(3)) and state not in wanted and time.monotonic() < end:
            time.sleep(0.001)
        return state


def tell(text: str) -> None:
    """Send a line to the owner; one that has gone needs no answer."""
    try:
        os.write(1, text.encode() + b"\n")
    except OSError:
        pass  # the end of the socket is noticed where it is read


def leave(*_: object) -> None:
    """End, undoing on the way out.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(0)


def die_with_owner(number: int) -> None:
    """Get signal *number* when the thread that started this process ends.

    Raises:
        SystemExit: it has ended already.
    """
    owner = int(os.environ.get("DUENDE_OWNER", "0"))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)
    if owner and os.getppid() != owner:
        raise SystemExit(0)


def owner_gone(timeout: float) -> bool:
    """Wait *timeout* seconds; whether the owner has hung up by then."""
    ready, _, _ = select.select([0], [], [], timeout)
    try:
        return bool(ready) and not os.read(0, 4096)
    except OSError:
        return True


def guard() -> None:
    """Pause and resume until the owner is gone, then resume whatever is paused."""
    signal.signal(signal.SIGTERM, leave)
    die_with_owner(signal.SIGTERM)
    held: dict[tuple[int, int], Process] = {}
    tell("ready 0")
    try:
        with open(0, encoding="ascii", closefd=False) as lines:
            for line in lines:
                verb, pid, born = line.split()
                key = (int(pid), int(born))
                try:
                    if verb == "stop":
                        # Noted before it is sent: a guard killed by a signal in between resumes one too many, never one too few.
                        held[key] = held.get(key) or Process(*key)
                        tell(f"state {held[key].turn(signal.SIGSTOP, 'TtZX')}")
                    else:
                        process = held.pop(key, None) or Process(*key)
                        tell(f"state {process.turn(signal.SIGCONT, 'RSDIZX')}")
                        os.close(process.fd)
                except OSError as error:
                    held.pop(key, None)
                    tell(f"error {error}")
    except ConnectionError:
        pass  # the owner was killed: the same as a hang-up
    finally:
        for process in held.values():
            process.turn(signal.SIGCONT, "RSDIZX")


def memory(size: int, groups: list[str]) -> None:
    """Hold *size* bytes until the owner is gone."""
    die_with_owner(signal.SIGKILL)
    joined = []
    for path in groups:
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write("0")  # cgroups(7): 0 means the writer
            joined.append(path)
        except OSError:
            continue  # not ours to join: the pressure is on the whole machine then, and the answer says so
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # when memory really ends this goes first, not a bystander
    except OSError:
        pass  # always allowed to raise one's own; absent outside Linux
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, size, PAGE):
        area[offset] = 1
    tell(f"ready {size} {' '.join(joined)}")
    while not owner_gone(60.0):
        pass
    area.close()


def cpu(share: float) -> None:
    """Burn *share* of one core until the owner is gone."""
    die_with_owner(signal.SIGKILL)
    tell("ready 0")
    while not owner_gone(TURN * (1.0 - share)):
        end = time.perf_counter() + TURN * share
        while time.perf_counter() < end:
            pass


def main(argv: list[str]) -> None:
    """Be what *argv* says."""
    if argv[0] == "guard":
        guard()
    elif argv[0] == "memory":
        memory(int(argv[1]), argv[2:])
    else:
        cpu(float(argv[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
