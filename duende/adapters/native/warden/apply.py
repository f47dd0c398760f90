"""What is applied inside the child before the program's first instruction: limits, user, umask, folder.

Runs in a short-lived process forked from the warden (or from the preloaded interpreter) that then starts a whole batch of daemons with
the same settings; whatever it applies, the daemons inherit.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StepError(Exception):
    """A step of a start failed: errno, the step's name, and the path or value it was about."""

    def __init__(self, errno: int, step: str, about: str) -> None:
        super().__init__(errno, step, about)
        self.errno = errno
        self.step = step
        self.about = about


def apply_settings(settings: dict[str, Any]) -> None:
    """Apply *settings* to this process, rights last so that the earlier steps may still need them.

    Raises:
        StepError: the first step that failed; the caller ends this process, so nothing half-applied remains.
    """
    step, about = "start", ""
    try:
        step = "umask"
        if (mask := settings.get("umask")) is not None:
            os.umask(mask)
        step = "network_namespace"
        if about := settings.get("network_namespace", ""):
            from duende.kernel.namespaces import enter_network

            enter_network(about)
            about = ""
        step = "mounts"
        if (mounts := settings.get("mounts")) is not None:
            from duende.kernel.mounts import own_view

            lenient = settings.get("lenient")  # best_effort
            try:
                own_view(**mounts)
            except OSError as error:
                if not lenient:
                    about = error.filename or ""
                    raise
        step = "nice"
        if (nice := settings.get("nice")) is not None and nice != os.getpriority(os.PRIO_PROCESS, 0):
            about = str(nice)
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        step = "limit"
        if limits := settings.get("limits"):
            import resource

            for name, soft, hard in limits:
                about = name
                _limit(resource, name, soft, hard)
        step = "capabilities"
        if (dropped := settings.get("bounding")) is not None:
            from duende.kernel.capabilities import drop_bounding

            about = f"{dropped:#x}"
            drop_bounding(dropped)
        step, about = "no_new_privs", ""
        if settings.get("no_new_privs"):
            from duende.kernel.prctl import set_no_new_privs

            set_no_new_privs()
        step = "group"
        if (groups := settings.get("groups")) is not None:
            os.setgroups(groups)
        if (gid := settings.get("gid")) is not None:
            about = str(gid)
            os.setresgid(gid, gid, gid)
        step = "user"
        if (uid := settings.get("uid")) is not None:
            about = str(uid)
            os.setresuid(uid, uid, uid)
        step = "working_dir"
        if (cwd := settings.get("cwd")) is not None:
            about = cwd
            os.chdir(cwd)
    except OSError as error:
        raise StepError(error.errno or 0, step, about) from error
    except ValueError as error:  # resource.setrlimit: "not allowed to raise maximum limit"
        raise StepError(1, step, f"{about}: {error}") from error


def _limit(resource: Any, name: str, soft: int, hard: int) -> None:
    kind = getattr(resource, name)
    _, ceiling = resource.getrlimit(kind)
    # Without CAP_SYS_RESOURCE a hard limit cannot be raised; asking for more than there is means: as much as there is.
    if ceiling != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > ceiling):
        hard = ceiling
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    resource.setrlimit(kind, (soft, hard))
