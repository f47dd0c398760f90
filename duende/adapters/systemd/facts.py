"""What has to be known of a systemd and of its host before a unit is rendered for it, as one value."""

from __future__ import annotations

import os
import re

import msgspec

OLDEST = 240
"""The oldest systemd this adapter talks to: from it on Type=exec tells whether a program could be executed (NEWS of systemd, 240)."""
GRADUAL_RESTARTS = 254
"""From it on RestartSteps= and RestartMaxDelaySec= exist (NEWS of systemd, 254)."""
CGROUPS = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "memory", "pids", "io")
_NOT_DISKS = re.compile(r"(ram|loop|zram|sr|fd|nbd)\d+")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One systemd, as far as rendering depends on it."""

    version: int
    """252 for "252.39-1~deb12u2"."""
    version_text: str = ""
    user: bool = False
    """The manager of a user, not of the system."""
    uid: int = 0
    """Whose manager it is."""
    unified: bool = True
    """cgroup v2 alone has the controllers; False: they are on cgroup v1, also beside a v2 tree."""
    controllers: frozenset[str] | None = None
    """Those of `CONTROLLERS` that this manager can use; None where nobody here can tell."""
    control_group: str = ""
    """The control group of the manager itself."""
    disks: tuple[str, ...] = ()
    """The host's disks as /dev/block/MAJOR:MINOR, for limits of input and output."""
    environ: dict[str, str] = {}
    """The environment of this process, of which a daemon gets a little."""

    def likely_group(self, unit: str, slice_name: str = "") -> str:
        """Where that manager puts the group of *unit* (systemd.special(7), system.slice and app.slice): a guess that saves a question."""
        inner = slice_name or ("app.slice" if self.user else "system.slice")
        return f"{self.control_group.rstrip('/')}/{inner}/{unit}"

    def lacks(self, controller: str) -> bool:
        """Whether that controller is known to be out of reach."""
        return self.controllers is not None and controller not in self.controllers


def version_number(text: str) -> int:
    """The number in systemd's `Version` property: "252.39-1~deb12u2", "v256", "255 (255.4-1)"; 0 where there is none."""
    found = re.match(r"\D{0,20}(\d{1,5})", text)
    return int(found.group(1)) if found else 0


def is_unified(root: str = CGROUPS) -> bool:
    """Whether *root* is a cgroup2 file system; only the root of one has this file (Documentation/admin-guide/cgroup-v2.rst)."""
    return os.path.exists(f"{root}/cgroup.controllers")


def usable_controllers(control_group: str, *, user: bool, root: str = CGROUPS) -> frozenset[str] | None:
    """The controllers of `CONTROLLERS` that the manager in *control_group* can use; None where its group cannot be seen from here.

    On cgroup v1 a user's manager has none: systemd does not delegate them (systemd.resource-control(5)).
    """
    if not is_unified(root):
        if user:
            return frozenset()
        # blkio is the io of cgroup v1, and cpu is mounted alone or with cpuacct.
        names = {"cpu": ("cpu", "cpu,cpuacct"), "memory": ("memory",), "pids": ("pids",), "io": ("blkio",)}
        return frozenset(
            name for name, paths in names.items() if any(os.path.isdir(f"{root}/{path}") for path in paths)
        )
    try:
        with open(f"{root}{control_group}/cgroup.controllers", encoding="ascii") as file:
            return frozenset(file.read().split()) & frozenset(CONTROLLERS)
    except OSError:
        return None


def disks(root: str = "/sys/block") -> tuple[str, ...]:
    """Whole disks with a size, in the form that systemd takes without looking at /dev (/dev/block/MAJOR:MINOR)."""
    found: list[str] = []
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return ()
    for name in names:
        if _NOT_DISKS.fullmatch(name):
            continue
        try:
            with (
                open(f"{root}/{name}/size", encoding="ascii") as size,
                open(f"{root}/{name}/dev", encoding="ascii") as dev,
            ):
                if int(size.read()):
                    found.append(f"/dev/block/{dev.read().strip()}")
        except (OSError, ValueError):
            continue  # it went away meanwhile
    return tuple(found)
