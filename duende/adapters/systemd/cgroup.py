"""A unit's control group as this process sees it: its processes by the numbers they have here, and its files."""

from __future__ import annotations

import os

from duende.adapters.systemd.facts import CGROUPS
from duende.kernel.process import LOWEST_PID, environment_value, status_fields

MARK = "DUENDE_DAEMON_ID"
"""In the environment of everything that is started for a daemon."""
_TREES = ("", "/systemd", "/unified")
"""Where systemd's own tree is below /sys/fs/cgroup: cgroup v2 alone, v1, or both side by side (systemd's docs/CGROUP_DELEGATION.md)."""


def members(group: str, root: str = CGROUPS) -> list[int]:
    """The processes of *group*, numbers as seen from here; none where the group cannot be seen."""
    if not group.startswith("/") or group == "/":
        return []
    for tree in _TREES:
        try:
            with open(f"{root}{tree}{group}/cgroup.procs", encoding="ascii") as file:
                found = [int(line) for line in file]
        except (OSError, ValueError):
            continue  # the unit is not in this tree, or the tree cannot be seen
        if found:
            return [pid for pid in found if pid >= LOWEST_PID]
    return []


def host_pid(group: str, pid: int, daemon_id: str, *, local: bool, root: str = CGROUPS) -> int:
    """The number that systemd's process *pid* of *group* has here; 0 where it cannot be seen.

    A systemd in a container counts in its own pid namespace: then the group says which processes can be meant, and NSpid
    (proc(5)) which of them has that number there. The mark in its environment must not be another daemon's.
    """
    if pid < LOWEST_PID:
        return 0
    if local:
        return pid
    for candidate in members(group, root):
        names = status_fields(candidate).get("NSpid", "").split()
        if names and names[-1] == str(pid) and environment_value(candidate, MARK) in (None, daemon_id):
            return candidate
    return 0


def read(group: str, controller: str, name: str, *, unified: bool, root: str = CGROUPS) -> str | None:
    """The text of a file of *group*, None where it cannot be read. *controller* is the name of its hierarchy on cgroup v1."""
    if not group.startswith("/"):
        return None
    folder = f"{root}{group}" if unified else f"{root}/{controller}{group}"
    try:
        with open(os.path.join(folder, name), encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return None
