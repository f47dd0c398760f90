"""Stops a process at some of its system calls and says where in the source each comes from: a program, so that a crash in a library of others, or
a kill, ends it and not the daemon; the kernel detaches what a tracer that ends had attached.

`python -m duende.observe.trace.stops PID SECONDS EACH [NUMBER ...]` writes one JSON line for each call looked at: up to EACH of every number.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from duende.errors import TracerFailedError
from duende.observe.trace import ptrace
from duende.observe.trace.call import name_of
from duende.observe.trace.dwarf import Unwinder
from duende.observe.trace.tracer import family, threads

PY_SPY_S = 10.0
POLL_S = 0.0005


class Looker:
    """Finds the stack of a stopped thread: Python's own where it is an interpreter, the native one otherwise."""

    def __init__(self) -> None:
        self._natives: dict[int, Unwinder | None] = {}
        self._why: dict[int, str] = {}
        self._spy = py_spy()

    def stack(self, pid: int, tid: int) -> list[dict[str, Any]]:
        """Frames, innermost first."""
        if is_python(pid) and self._spy:
            found = self._python(pid, tid)
            if found:
                return found
        if pid not in self._natives:
            self._natives[pid] = Unwinder(pid)
        unwinder = self._natives[pid]
        return [] if unwinder is None else [frame._asdict() for frame in unwinder.stack(tid)]

    def _python(self, pid: int, tid: int) -> list[dict[str, Any]]:
        line = [self._spy, "dump", "--nonblocking", "--json", "--pid", str(pid)]
        done = subprocess.run(line, capture_output=True, check=False, timeout=PY_SPY_S)
        if done.returncode:
            return []
        for thread in json.loads(done.stdout):
            if thread.get("os_thread_id") in (tid, None) or (
                tid == pid and thread.get("os_thread_id") == pid
            ):
                return [
                    {
                        "function": each["name"],
                        "file": each["filename"],
                        "line": each["line"],
                        "module": "python",
                    }
                    for each in thread["frames"]
                ]
        return []


def py_spy() -> str:
    """The program py-spy, beside this interpreter or on the path; empty where there is none."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.is_file() else (shutil.which("py-spy") or "")


def is_python(pid: int) -> bool:
    """Whether a process runs CPython."""
    try:
        if "python" in os.path.basename(os.readlink(f"/proc/{pid}/exe")):
            return True
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            return any("libpython" in line for line in file)
    except OSError:
        return False


class Stopper:
    """All threads of some processes, seized, one system call at a time."""

    def __init__(self, pids: list[int], numbers: frozenset[int], each: int) -> None:
        self.numbers = numbers
        self.each = each
        self.tids: set[int] = set()
        self.seen: Counter[int] = Counter()
        self.calls: Counter[int] = Counter()
        self.looker = Looker()
        for tid in threads(pids):
            self._seize(tid)

    def _seize(self, tid: int) -> None:
        try:
            ptrace.request(ptrace.SEIZE, tid, 0, ptrace.OPTIONS)
            ptrace.request(ptrace.INTERRUPT, tid)
        except ProcessLookupError:
            return  # it ended just now
        except OSError as error:
            self.release()
            raise TracerFailedError(
                f"cannot attach to thread {tid}: {error.strerror}",
                remedy="run as root, or as the daemon's user with /proc/sys/kernel/yama/ptrace_scope at 0; no other tracer may be attached",
            ) from error
        self.tids.add(tid)

    def run(self, until: float) -> None:
        """Go on until the time comes, every kind of call has been seen often enough, or nothing is left to trace."""
        while self.tids and time.monotonic() < until:
            if self.numbers and all(self.seen[number] >= self.each for number in self.numbers):
                return
            tid, status = os.waitpid(-1, ptrace.WALL | os.WNOHANG)
            if tid == 0:
                time.sleep(POLL_S)  # a process of its own, with no loop to hold up
                continue
            self._on(tid, status)

    def _on(self, tid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self.tids.discard(tid)
            return
        self.tids.add(tid)
        number, event = os.WSTOPSIG(status), status >> 16
        if number == signal.SIGTRAP | 0x80:
            self._at_call(tid)
            self._go(tid)
        elif event == ptrace.EVENT_STOP:
            # Stopped by a signal, not by us: it stays so, as it would without a tracer.
            stopped = number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
            self._go(tid, ptrace.LISTEN if stopped else ptrace.SYSCALL)
        else:
            self._go(tid, signal_=0 if event else number)

    def _go(self, tid: int, how: int = ptrace.SYSCALL, signal_: int = 0) -> None:
        try:
            ptrace.request(how, tid, 0, signal_)
        except ProcessLookupError:
            self.tids.discard(tid)  # killed while it stood

    def _at_call(self, tid: int) -> None:
        try:
            stop = ptrace.stop_of(tid)
        except OSError:
            return  # killed while it stood
        if stop.kind != ptrace.ENTRY:
            return
        self.calls[stop.number] += 1
        if (self.numbers and stop.number not in self.numbers) or self.seen[stop.number] >= self.each:
            return
        self.seen[stop.number] += 1
        pid = _process_of(tid)
        frames = self.looker.stack(pid, tid) if pid else []
        _tell({"call": name_of(stop.number), "tid": tid, "frames": frames})

    def release(self) -> None:
        """Let all go: each must stand still for it."""
        for tid in list(self.tids):
            try:
                ptrace.request(ptrace.INTERRUPT, tid)
            except OSError:
                self.tids.discard(tid)
        deadline = time.monotonic() + 2.0
        while self.tids and time.monotonic() < deadline:
            tid, status = os.waitpid(-1, ptrace.WALL | os.WNOHANG)
            if tid == 0:
                time.sleep(POLL_S)
                continue
            self.tids.discard(tid)
            if os.WIFSTOPPED(status):
                number, event = os.WSTOPSIG(status), status >> 16
                passed = 0 if event or number == signal.SIGTRAP | 0x80 else number
                try:
                    ptrace.request(ptrace.DETACH, tid, 0, passed)
                except OSError:
                    pass  # it is gone


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _process_of(tid: int) -> int:
    try:
        with open(f"/proc/{tid}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Tgid:")), 0)
    except OSError:
        return 0


def main(words: list[str]) -> int:
    """Stop, look, let go."""
    pid, seconds, each = int(words[0]), float(words[1]), int(words[2])
    try:
        stopper = Stopper(family(pid), frozenset(int(word) for word in words[3:]), each)
        try:
            stopper.run(time.monotonic() + seconds)
        finally:
            stopper.release()
    except TracerFailedError as error:
        _tell({"problem": error.problem, "remedy": error.remedy})
        return 1
    _tell({"calls": {name_of(number): count for number, count in stopper.calls.items()}})
    return 0


if __name__ == "__main__":
    # Ended by whoever started it, it lets go in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(main(sys.argv[1:]))
