"""Run a command, and end whatever of it is still there when it is over: `python -m falsification.kit.sweep COMMAND ...`

An attempt under a planted defect leaves daemons behind: that is what the defect does. This process is their subreaper
(PR_SET_CHILD_SUBREAPER, prctl(2)), so every descendant that lost its parent comes to it, whatever session or group it
has made for itself; nobody else's process can ever be among them. Imports nothing of the product under test.

Exits as the command did; 128 and more for a signal. SIGINT is passed on, SIGTERM ends the command at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
"""<linux/prctl.h>"""
PASSES = 200
"""Looks at what is left; each kills what it finds, and a fork storm needs more than one."""
PAUSE_S = 0.01


def adopt_orphans() -> None:
    """Become the subreaper of everything below.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def descendants() -> list[int]:
    """Every process below this one, parents first."""
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        pid = queue.pop(0)
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                    queue += (below := [int(word) for word in file.read().split()])
                    found += below
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return found


def sweep() -> list[str]:
    """Kill and reap what is left; what that was."""
    ended: dict[int, str] = {}
    for _ in range(PASSES):
        _reap()
        left = descendants()
        if not left:
            break
        for pid in left:
            if pid > 1 and _kill(pid):
                ended.setdefault(pid, f"{pid} {_name(pid)}")
        time.sleep(PAUSE_S)
    return list(ended.values())


def _kill(pid: int) -> bool:
    """Through a pidfd that is checked to be ours after it was opened: a number may be taken over, a pidfd may not."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False  # it has ended
    try:
        if pid not in descendants():
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return True
    except OSError:
        return False  # it ended meanwhile
    finally:
        os.close(fd)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"


def _reap() -> None:
    try:
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass
    except ChildProcessError:
        pass  # nobody is left


def run(command: list[str]) -> int:
    """Run *command*, reaping orphans meanwhile; its exit code."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGINT, lambda *_: child.send_signal(signal.SIGINT))
    signal.signal(signal.SIGTERM, lambda *_: child.kill())
    while True:
        found = os.waitid(os.P_ALL, 0, os.WEXITED)
        if found is not None and found.si_pid == child.pid:
            code = found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status
            child.returncode = code  # reaped here: nobody must wait for it again
            return code


def main(arguments: list[str]) -> int:
    """Adopt, run, sweep, and say what was swept. Only Linux can adopt: elsewhere the command is run, and nothing more."""
    if sys.platform != "linux":
        return subprocess.call(arguments)
    adopt_orphans()
    code = run(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if left := sweep():
        print(f"swept {len(left)} processes that were left: {', '.join(left[:20])}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
