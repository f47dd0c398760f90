"""A small process that undoes faults when the process that injected them is killed.

Every fault leases its undoing here before it is injected. Healing a fault is the same undoing, asked for.
When the other end of the socket is gone without farewell, everything still leased is undone: processes first,
then mounts, then folders.

Runs with nothing but the standard library and nothing of duende: what undoes must not depend on what is under
test. Undoings: `kill` and `cont` a process known by pid and start time, kill every process `marked` by a
token in its environment, `umount` a folder, `remove` a folder, `write` a text to a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

MARK = "DUENDE_SCENARIO"
"""Name of the environment variable that marks what a scenario started, directly or not."""
ORDER = ("kill", "marked", "cont", "write", "umount", "remove")
PASSES = 50
"""Looks at the process table while killing what is marked; a fork storm needs more than one."""
PAUSE = 0.02


def start_time(pid: int) -> int:
    """Start of a process in ticks since boot (proc(5), field 22), 0 when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            raw = file.read()
    except OSError:
        return 0
    return int(raw[raw.rindex(b")") + 2 :].split()[19])


def send(pid: int, born: int, number: int) -> bool:
    """Send a signal to the process *pid* that was born then; False when it is gone or another one."""
    if pid <= 1:
        return False
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at after it was opened: the descriptor and the start time are of the same process or the
        # signal is not sent.
        if start_time(pid) != born:
            return False
        signal.pidfd_send_signal(fd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


def marked(token: str) -> list[tuple[int, int]]:
    """Every living process that was started with the mark in its environment, with its start time; never this
    one.
    """
    wanted = f"{MARK}={token}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) in (1, os.getpid()):
            continue
        born = start_time(int(name))
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            continue
        if wanted in entries and born:
            found.append((int(name), born))
    return found


def undo(lease: dict[str, object]) -> str:
    """Undo one lease; what was done, in words."""
    kind = lease["kind"]
    if kind in ("kill", "cont"):
        number = signal.SIGKILL if kind == "kill" else signal.SIGCONT
        done = send(int(str(lease["pid"])), int(str(lease["born"])), number)
        return f"{kind} {lease['pid']}" if done else f"{lease['pid']} was gone"
    if kind == "marked":
        count = 0
        for _ in range(PASSES):
            group = marked(str(lease["token"]))
            if not group:
                return f"{count} marked processes killed"
            count += sum(send(pid, born, signal.SIGKILL) for pid, born in group)
            time.sleep(PAUSE)
        return f"{count} marked processes killed, some are left"
    path = str(lease["path"])
    if kind == "write":
        with open(path, "w") as file:
            file.write(str(lease["text"]))
        return f"wrote {path}"
    if kind == "umount":
        unmounted = subprocess.run(["umount", "-l", path], capture_output=True, text=True, check=False)
        return f"unmounted {path}" if unmounted.returncode == 0 else unmounted.stderr.strip()
    shutil.rmtree(path, ignore_errors=True)
    return f"removed {path}"


def serve(end: socket.socket) -> None:
    """Answer until the other end says farewell or is gone; undo what is still leased."""
    leases: dict[int, dict[str, object]] = {}
    with end.makefile("rwb") as stream:
        for line in stream:
            request = json.loads(line)
            number = int(request["id"])
            answer = "leased"
            if request["do"] == "lease":
                leases[number] = request["what"]
            elif request["do"] == "undo" and number in leases:
                try:
                    answer = undo(leases.pop(number))
                except OSError as error:
                    answer = f"failed: {error}"
            elif request["do"] == "release":
                leases.pop(number, None)
                answer = "released"
            stream.write(json.dumps(answer).encode() + b"\n")
            stream.flush()
    for lease in sorted(leases.values(), key=lambda lease: ORDER.index(str(lease["kind"]))):
        try:
            undo(lease)
        except OSError:
            continue  # the others still have to be undone, and nobody is left to be told


def main() -> int:
    """The program; its argument is the number of the socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its other end does, and not before
    with socket.socket(fileno=int(sys.argv[1])) as end:
        try:
            serve(end)
        except ConnectionError:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
