"""Where control groups for daemons can be made on this host: a pure function of three small files."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

CONTROLLERS = ("memory", "cpu", "pids", "io")
"""By the names of version 2; version 1 calls io blkio."""
ACCOUNT = "cpuacct"
"""Limits nothing: on version 1 it is what tells the CPU time, and it may be a tree of its own."""
FREEZER = "freezer"
"""Limits nothing either: on version 1 it is what holds a group still, in a tree of its own. Version 2 has it in every group."""
V1_NAMES = {
    "memory": "memory",
    "cpu": "cpu",
    "pids": "pids",
    "io": "blkio",
    ACCOUNT: ACCOUNT,
    FREEZER: FREEZER,
}


class Hierarchy(msgspec.Struct, frozen=True, kw_only=True):
    """One tree of groups."""

    version: int
    controllers: frozenset[str]
    base: str
    """The folder below which groups can be made."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All trees of this host."""

    hierarchies: tuple[Hierarchy, ...] = ()
    why_not: str = ""
    """Why version 2 cannot be used, where it is there and cannot."""

    def home_of(self, controller: str) -> Hierarchy | None:
        """The tree that has *controller*; a controller is in one tree only."""
        return next((each for each in self.hierarchies if controller in each.controllers), None)

    def lacking(self, controller: str) -> str:
        """Why *controller* cannot be had, for people."""
        why = f"the cgroup controller {controller} is not to be had here"
        return f"{why}: {self.why_not}" if self.why_not else why


def view_of(mountinfo: str, own: str, read: Callable[[str], str | None]) -> View:
    """The view by *mountinfo* (proc_pid_mountinfo(5)) and *own*, /proc/self/cgroup (cgroups(7)); *read* gives a file's text, None without it."""
    groups = _groups(own)
    found: list[Hierarchy] = []
    why = ""
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        words, rest = fields.split(), tail.split()
        if len(words) < 5 or len(rest) < 3:
            continue
        root, mount = _unescaped(words[3]), _unescaped(words[4])
        if rest[0] == "cgroup":
            options = set(rest[2].split(","))
            names = frozenset(name for name, old in V1_NAMES.items() if old in options)
            group = next((groups[V1_NAMES[name]] for name in names if V1_NAMES[name] in groups), None)
            if names and group is not None:
                found.append(Hierarchy(version=1, controllers=names, base=_below(mount, root, group)))
        elif rest[0] == "cgroup2" and "" in groups:
            made = _unified(_below(mount, root, groups[""]), mount, read)
            if isinstance(made, str):
                why = why or made
            elif made.controllers:
                found.append(made)
    taken: set[str] = set()
    unique = []
    for each in found:  # the same tree may be mounted more than once
        if each.controllers - taken:
            unique.append(each)
            taken |= each.controllers
    return View(hierarchies=tuple(unique), why_not=why)


def _unified(own: str, mount: str, read: Callable[[str], str | None]) -> Hierarchy | str:
    """Groups with controllers may not be made below one that has processes, but for the root ("no internal processes")."""
    root = os.path.normpath(mount)
    base = root if os.path.normpath(own) == root else os.path.dirname(os.path.normpath(own))
    text = read(f"{base}/cgroup.controllers")
    if text is None:
        return f"{base} cannot be read"
    if base != root and (read(f"{base}/cgroup.procs") or "").split():
        return f"{base} has processes of its own, and this process is in {own} (systemd.resource-control(5): Delegate=, DelegateSubgroup=)"
    return Hierarchy(version=2, controllers=frozenset(text.split()) & frozenset(CONTROLLERS), base=base)


def _groups(own: str) -> dict[str, str]:
    """Controller (version 1 name, "" for version 2) -> the group this process is in."""
    found = {}
    for line in own.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for name in parts[1].split(","):
                found[name] = parts[2]
    return found


def _below(mount: str, root: str, group: str) -> str:
    """The folder of *group* below a mount whose root is the group *root*: in a container both are the container's own."""
    if root != "/" and (group == root or group.startswith(root + "/")):
        group = group[len(root) :]
    return os.path.normpath(f"{mount}/{group}")


def _unescaped(text: str) -> str:
    """A path of mountinfo, where blanks are written as octal numbers."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def read_text(path: str) -> str | None:
    """The text of a small file, None where it is not to be had."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def this_host() -> View:
    """The view of this process on this host, now."""
    return view_of(read_text("/proc/self/mountinfo") or "", read_text("/proc/self/cgroup") or "", read_text)
