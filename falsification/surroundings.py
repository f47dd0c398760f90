"""What some attempts need around a daemon: network namespaces with a wire between them, block devices and small file systems, gone with the trial."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from falsification.kit import Trial
from fixtures.lease import Reaper

HERE, THERE = "10.213.0.1", "10.213.0.2"
"""Addresses that exist in the namespaces of the trial only."""
NAMESPACES = Path("/run/netns")
"""Where ip-netns(8) keeps them."""


def command(*words: str) -> str:
    """Run a command that must succeed; what it printed."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout


def namespaces(trial: Trial) -> tuple[str, str]:
    """Two network namespaces with a wire between them, called "wire" in both."""
    mark = secrets.token_hex(3)
    ours, theirs = f"duende-{mark}-a", f"duende-{mark}-b"
    for name in (ours, theirs):
        command("ip", "netns", "add", name)
        trial.defer(command, "ip", "netns", "delete", name)
    command("ip", "-n", ours, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", theirs)
    for name, address in ((ours, HERE), (theirs, THERE)):
        command("ip", "-n", name, "address", "add", f"{address}/24", "dev", "wire")
        command("ip", "-n", name, "link", "set", "wire", "up")
        command("ip", "-n", name, "link", "set", "lo", "up")
    return ours, theirs


def image(trial: Trial, mib: int) -> Path:
    """A file of so many MiB, without content."""
    file = trial.tmp / f"disk-{secrets.token_hex(3)}.img"
    with file.open("wb") as made:
        made.truncate(mib << 20)
    return file


def loop_device(trial: Trial, mib: int) -> str:
    """A block device on a file of the trial's."""
    device = command("losetup", "--find", "--show", str(image(trial, mib))).strip()
    trial.defer(command, "losetup", "--detach", device)
    return device


def btrfs(trial: Trial, mib: int) -> Path:
    """A file system of its own with quotas on, mounted; whoever is killed leaves it to the reaper."""
    file = image(trial, mib)
    command("mkfs.btrfs", "--quiet", str(file))
    place = trial.tmp / "btrfs"
    place.mkdir()
    reaper = Reaper()
    trial.defer(reaper.close)
    reaper.lease("below", path=str(place))
    command("mount", "-o", "loop", str(file), str(place))  # the device goes with the mount
    command("btrfs", "quota", "enable", str(place))
    return place
