"""Start a manager in the background and wait until it is up."""

from __future__ import annotations

import os
import select
import sys
import time

from duende.errors import DaemonIOError, NotFoundError, PlatformIOError, PlatformTimeoutError
from duende.kernel.process import RESET_SIGNALS
from duende.manager.client import ManagerClient
from duende.manager.early import is_held

PATIENCE = 20.0


LOOK_AGAIN = 0.02
"""Seconds between looks at a manager that somebody else is just starting."""


def bring_up_manager(runtime_dir: str, state_dir: str, timeout: float) -> ManagerClient:
    """Start a manager and connect to it, or to the one that somebody else has started in the same moment.

    Raises:
        DuendeError: none came up; as `start_manager`.
    """
    deadline = time.monotonic() + PATIENCE
    try:
        start_manager(runtime_dir, state_dir)
    except PlatformIOError as error:
        while time.monotonic() < deadline:
            try:
                return ManagerClient(runtime_dir, timeout=timeout)
            except NotFoundError:
                if not is_held(state_dir):
                    raise error from None
            time.sleep(LOOK_AGAIN)
        raise
    return ManagerClient(runtime_dir, timeout=timeout)


def start_manager(runtime_dir: str, state_dir: str) -> None:
    """Start `duende manager` detached from this terminal; returns once its socket answers.

    Raises:
        DaemonIOError: its log cannot be written.
        PlatformIOError: it could not start; the reason is in the text.
        PlatformTimeoutError: it did not come up.
    """
    log = os.path.join(state_dir, "manager.log")
    try:
        os.makedirs(state_dir, mode=0o755, exist_ok=True)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise DaemonIOError.of("write", log, error, "choose another --state-dir") from error
    reading, writing = os.pipe()
    argv = [
        sys.executable,
        "-m",
        "duende",
        "manager",
        "--runtime-dir",
        runtime_dir,
        "--state-dir",
        state_dir,
        "--notify-fd",
        "3",
    ]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, out, 2),
        (os.POSIX_SPAWN_DUP2, writing, 3),
    ]
    os.posix_spawn(
        sys.executable, argv, os.environ, file_actions=actions, setsid=True, setsigdef=RESET_SIGNALS
    )
    os.close(writing)
    os.close(out)
    answer = _read_line(reading)
    os.close(reading)
    if answer != "ready":
        raise PlatformIOError(
            f"cannot start a manager: {answer.removeprefix('error: ') or 'it ended at once'}",
            remedy=f"see {log}",
        )


def _read_line(fd: int) -> str:
    deadline = time.monotonic() + PATIENCE
    data = b""
    while b"\n" not in data:
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise PlatformTimeoutError("start a manager", PATIENCE)
        chunk = os.read(fd, 4096)
        if not chunk:
            break
        data += chunk
    return data.decode(errors="replace").strip()
