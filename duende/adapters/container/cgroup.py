"""A container's control group as this host sees it: what the kernel counted there, and whether anybody is left in it."""

from __future__ import annotations

import os
import re

import msgspec

from duende.policy.cgroups.disks import disk_of


class Group(msgspec.Struct, frozen=True):
    """Where a container's control groups are, by controller; the key "" is cgroup v2 (cgroups(7))."""

    folders: dict[str, str]

    def read(self, controller: str, v1: str, v2: str) -> str | None:
        """The text of a file: *v1* of that *controller*'s hierarchy, or *v2* of the unified one; None where neither is there."""
        for folder, name in ((self.folders.get(controller), v1), (self.folders.get(""), v2)):
            if folder and name and (text := _read(f"{folder}/{name}")) is not None:
                return text
        return None

    def oom_kills(self) -> int:
        """How many processes of it were killed for memory; 0 where nobody counts."""
        text = self.read("memory", "memory.oom_control", "memory.events") or ""
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return int(found.group(1)) if found else 0

    def processes(self) -> list[int]:
        """Processes that are in it; none where it has been removed."""
        found: set[int] = set()
        for folder in self.folders.values():
            found.update(map(int, (_read(f"{folder}/cgroup.procs") or "").split()))
        return sorted(found)

    def thaw(self) -> bool:
        """Let its frozen processes run on (freezer.state of cgroup v1, cgroup.freeze of v2); whether one of both took it."""
        done = False
        for controller, name, word in (("freezer", "freezer.state", "THAWED"), ("", "cgroup.freeze", "0")):
            folder = self.folders.get(controller)
            if folder:
                try:
                    with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                        file.write(word)
                    done = True
                except OSError:
                    continue  # it has no such file, or it has gone
        return done


def group_of(pid: int, container: str) -> Group | None:
    """The control groups of process *pid*, if it is in those of *container*; None if it is not, or nobody can tell.

    A runtime in another pid namespace has another idea of its numbers: then the process here belongs to somebody else.
    """
    text = _read(f"/proc/{pid}/cgroup")
    mounts = _read("/proc/self/mountinfo")
    if not text or not mounts or container not in text:
        return None
    return Group(folders(text, mounts, container))


def folders(cgroup: str, mountinfo: str, container: str) -> dict[str, str]:
    """Controller -> folder, from /proc/PID/cgroup and /proc/self/mountinfo (proc(5)): pure. Only groups named after the container count."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        words, kinds = left.split(), right.split()
        if not dash or len(words) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            mounts.setdefault("", (words[3], words[4]))
        elif kinds[0] == "cgroup":
            for name in kinds[2].split(","):
                mounts.setdefault(name, (words[3], words[4]))
    found: dict[str, str] = {}
    for line in cgroup.splitlines():
        _, names, path = ([*line.split(":", 2), "", ""])[:3]
        for name in names.split(",") if names else [""]:
            root, where = mounts.get(name, ("", ""))
            inside = path.removeprefix(root) if root != "/" else path
            if where and container in path and (root == "/" or path.startswith(root)):
                found[name] = where.rstrip("/") + inside
    return found


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None  # gone, hidden or never there: all mean that it says nothing


def device_of(folder: str) -> str:
    """The block device that *folder* is on, empty where there is none (overlay, tmpfs, another host's folder)."""
    node = disk_of(folder)
    path = f"/dev/{os.path.basename(node)}"
    return path if node and os.path.exists(path) else ""
