"""What a manager process does before it loads anything: fork its warden while both are small and share almost every page."""

from __future__ import annotations

import os
import sys

from duende.manager.paths import default_runtime_dir, default_state_dir


def fork_early(argv: list[str]) -> tuple[int, int] | None:
    """Fork the warden for the command line *argv*, or None where that has to wait until it is properly read."""
    if "-h" in argv or "--help" in argv or _option(argv, "--adapter") not in (None, "native"):
        return None
    return fork_warden_of(
        _option(argv, "--runtime-dir") or default_runtime_dir(),
        _option(argv, "--state-dir") or default_state_dir(),
        keep="--no-keep" not in argv,
    )


def _option(argv: list[str], name: str) -> str | None:
    for position, word in enumerate(argv):
        if word == name and position + 1 < len(argv):
            return argv[position + 1]
        if word.startswith(name + "="):
            return word[len(name) + 1 :]
    return None


def fork_warden_of(runtime_dir: str, state_dir: str, *, keep: bool) -> tuple[int, int] | None:
    """Fork the warden while this process is still small; None when an earlier one is still alive (or the folder is not usable yet)."""
    from duende.adapters.early import WARDEN_SOCKET, fork_helper
    from duende.kernel import sockets

    if sys.platform == "darwin":
        return None  # daemons are launchd's there
    try:
        os.makedirs(runtime_dir, mode=0o711, exist_ok=True)
        if sockets.answers(f"{runtime_dir}/{WARDEN_SOCKET}"):
            return None
    except OSError:
        return None  # the manager proper reports what is wrong with the folder
    if is_held(state_dir):
        return None
    return fork_helper(runtime_dir, keep=keep)


def is_held(state_dir: str) -> bool:
    """Whether a manager holds the state folder."""
    import fcntl

    try:
        fd = os.open(os.path.join(state_dir, "manager.lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
