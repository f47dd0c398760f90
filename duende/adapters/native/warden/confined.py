"""Start one program inside its control group, or confined: by fork, as posix_spawn has no word for either.

The child enters the group before it executes, so that its first instruction is limited already; and the one that forks it stays outside, as
it would count among the group's processes.
"""

from __future__ import annotations

import errno
import os
import signal

from duende.kernel.process import RESET_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


Places = list[tuple[int, int]]
"""Of each tree the cgroup.procs of a daemon's group, and of the group above it, open."""


def enter(places: Places) -> None:
    """Move this process into a daemon's groups; "0" is the writer itself (cgroup-v2.rst).

    Raises:
        OSError: the kernel refused.
    """
    for fd, _ in places:
        os.write(fd, b"0")


def leave(places: Places) -> None:
    """Move this process into the groups above.

    Raises:
        OSError: the kernel refused: on version 2 a group with controllers for those below has no processes of its own, but for the root.
    """
    for _, above in places:
        os.write(above, b"0")


def start_within(places: Places, path: str, argv: list[str], env: dict[str, str], actions: list[Any]) -> int:
    """Spawn *path* from inside its groups, and leave them again: the child is born there, and nothing of this process is copied for it, which took
    twice as long as all the rest. The pid, or 0 where it cannot be done so: this process may not leave, or the group has room for one.

    Raises:
        OSError: the program cannot be run.
    """
    try:
        leave(places)
        enter(places)
    except OSError:
        return 0  # `start` will say why, if it is no way either
    try:
        return os.posix_spawn(
            path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=RESET_SIGNALS
        )
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return 0
        raise
    finally:
        try:
            leave(places)
        except OSError:
            pass  # it could a moment ago; this process ends soon, and a daemon that runs must not be lost for it


def load(what: dict[str, Any]) -> None:
    """Import what `confine` will need for *what*."""
    if what:
        from duende.kernel import capabilities, landlock, prctl, seccomp

        del capabilities, landlock, prctl, seccomp


def confine(what: dict[str, Any]) -> None:
    """Take from this process what *what* does not leave it (`duende.policy.security.profiles.confinement`), the way back last.

    Raises:
        OSError: the kernel refused.
    """
    if "capabilities" in what:
        from duende.kernel.capabilities import keep_only

        keep_only(what["capabilities"])
    if "readable" in what or "filter" in what:
        from duende.kernel.prctl import set_no_new_privs

        set_no_new_privs()  # without it only a process with CAP_SYS_ADMIN may confine itself (seccomp(2), landlock(7))
    if "readable" in what:
        from duende.kernel import landlock

        landlock.restrict(what["readable"], what["writable"])
    if "filter" in what:
        from duende.kernel import seccomp

        seccomp.install(what["filter"])


def start(
    places: Places,
    path: str,
    argv: list[str],
    env: dict[str, str],
    streams: tuple[int, int, int],
    confinement: dict[str, Any] | None = None,
) -> int:
    """Execute *path* in a new session inside the groups, confined; the pid.

    Raises:
        OSError: the group or the program could not be entered.
    """
    reading, writing = os.pipe()  # closed by execve: what comes out of it is an error, or the end
    pid = os.fork()
    if pid == 0:
        _child(writing, places, path, argv, env, streams, confinement or {})
    os.close(writing)
    said = os.read(reading, 16)
    os.close(reading)
    if said:
        os.waitpid(pid, 0)
        raise OSError(int(said), os.strerror(int(said)), path)
    return pid


def _child(
    writing: int,
    places: Places,
    path: str,
    argv: list[str],
    env: dict[str, str],
    streams: tuple[int, int, int],
    confinement: dict[str, Any],
) -> None:
    number = 70
    try:
        enter(places)
        os.setsid()
        for source, target in zip(streams, (0, 1, 2), strict=True):
            os.dup2(source, target)
        for each in RESET_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        confine(confinement)
        os.execve(path, argv, env)
    except OSError as error:
        number = error.errno or 70
    finally:
        os.write(writing, str(number).encode())
        os._exit(70)
