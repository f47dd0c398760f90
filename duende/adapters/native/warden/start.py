"""Starting a warden: by fork from a manager that has loaded nothing yet, or by exec from any other program."""

from __future__ import annotations

import gc
import os
import sys

ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
)
"""The folder that holds the `duende` package; every helper imports the very same copy."""
BOOST = 10
"""Niceness the warden gains over its starter, where that is allowed."""
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from duende.adapters.native.warden.start import serve; serve(3, {listener}, keep={keep})"


def serve(owner: int, listener: int | None, *, keep: bool) -> None:
    """Body of the warden process."""
    from duende.adapters.native.warden.main import Warden
    from duende.kernel import prctl

    prctl.set_name("duende-warden")
    prefer()
    gc.disable()  # nothing here makes cycles; a collection would only touch, and so copy, the pages shared with the manager
    Warden(owner, listener, keep=keep).run()


def prefer() -> None:
    """Run before the daemons on a loaded machine: what reaps and kills them must not wait for them. Each start resets it in the child."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, max(-20, os.getpriority(os.PRIO_PROCESS, 0) - BOOST))
    except PermissionError:
        pass  # not root: then it is a process like any other


def spawn_warden(owner: int, listener: int | None, *, keep: bool, python: str = sys.executable) -> int:
    """Start a warden as a new process with *owner* as its socket; gives its pid.

    Raises:
        OSError: the interpreter cannot be started.
    """
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, owner, 3),
    ]
    if listener is not None:
        actions.append((os.POSIX_SPAWN_DUP2, listener, 4))
    code = BOOT.format(listener=4 if listener is not None else None, keep=keep)
    env = {
        key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
    }
    return os.posix_spawn(
        python, [python, "-I", "-S", "-c", code, ROOT], env, file_actions=actions, setsid=True
    )


def fork_warden(owner: int, other: int, listener: int | None, *, keep: bool) -> int:
    """Fork a warden from this single-threaded process, before it has loaded much; gives its pid. *other*, the far end of *owner*, is closed
    in it.
    """
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            os.close(other)
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            serve(owner, listener, keep=keep)
            code = 0
        finally:
            os._exit(code)
    return pid
