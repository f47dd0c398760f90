"""Devices whose server is gone: found without touching one that is served, or is just being set up, and removed.

A device is an orphan when the driver says that it is not live, and the process that served it, or was setting it up, is gone, and nobody else has
it open; and all of that still holds a moment later. A block node says nothing: a device with user recovery keeps it without a server, and one being
set up has none yet. Nor does the driver know who is setting one up: our server marks its devices, others' are left alone for their first seconds.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable

import msgspec

from duende.errors import PlatformTimeoutError, UblkError
from duende.kernel.process import read_stat
from duende.ublk.control import UblkControl
from duende.ublk.layout import DeviceInfo, State

SETTLE_S = 0.2
"""Seconds between the two looks. Whoever adds a device opens its node at once."""
SET_UP_S = 10.0
"""Seconds that somebody else's server, which does not mark what it adds, may take until it opens its device or the kernel knows it."""
DELETE_S = 5.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is found of one device."""

    device: int
    info: DeviceInfo
    orphan: bool
    reason: str


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one orphan."""

    device: int
    gone: bool
    reason: str


def find_orphans(control: UblkControl, settle: float = SETTLE_S) -> list[Finding]:
    """Every device, and whether it is an orphan; looks twice where one seems to be.

    Raises:
        UblkError: the driver refuses to say.
        PlatformTimeoutError: it does not answer.
    """
    first = _look(control, control.devices())
    suspects = [each.device for each in first if each.orphan]
    if suspects:
        time.sleep(settle)
        again = {each.device: each for each in _look(control, suspects)}
        # One that went meanwhile is nobody's concern; one that came to life is what the second look says.
        first = [again.get(each.device, each) for each in first if not each.orphan or each.device in again]
    return first


def clean_orphans(
    control: UblkControl, settle: float = SETTLE_S, *, keep: int | None = None
) -> list[Cleaned]:
    """Stop and delete every orphan but the device *keep*; one that cannot be deleted does not keep the others. Raises as `find_orphans` does."""
    return [
        force_delete(control, each.device)
        for each in find_orphans(control, settle)
        if each.orphan and each.device != keep
    ]


def force_delete(control: UblkControl, device: int, timeout: float = DELETE_S) -> Cleaned:
    """Stop a device, whoever serves it, and delete it; one that is gone already, by somebody else's hand, is gone."""
    try:
        control.stop(device, timeout)
    except UblkError as error:
        if error.errno == errno.ENODEV:
            return Cleaned(device=device, gone=True, reason="it was gone already")
        return Cleaned(device=device, gone=False, reason=str(error))
    except PlatformTimeoutError as error:
        return Cleaned(device=device, gone=False, reason=str(error))
    try:
        was = control.delete(device, timeout)
    except (UblkError, PlatformTimeoutError) as error:
        return Cleaned(device=device, gone=False, reason=str(error))
    return Cleaned(device=device, gone=True, reason="deleted" if was else "somebody else deleted it")


def _look(control: UblkControl, devices: Iterable[int]) -> list[Finding]:
    holders: dict[str, int] | None = None
    found = []
    for device in devices:
        info = control.find(device)
        if info is None:
            continue  # it went between the look at the nodes and this one
        if info.state == State.LIVE:
            found.append(
                Finding(device=device, info=info, orphan=False, reason=f"served by {info.server_pid}")
            )
            continue
        node = control.character(device)
        if _adds(info.adder, node) or _adds(info.server_pid, node):
            why = f"{info.adder or info.server_pid} lives, and is setting it up or ending it"
            found.append(Finding(device=device, info=info, orphan=False, reason=why))
            continue
        if not info.adder and info.server_pid <= 0 and _age(node) < SET_UP_S:
            why = f"it is not {SET_UP_S:g} s old: somebody may be setting it up"
            found.append(Finding(device=device, info=info, orphan=False, reason=why))
            continue
        if holders is None:
            holders = _holders(control.nodes)
        holder = holders.get(node)
        found.append(
            Finding(
                device=device,
                info=info,
                orphan=holder is None,
                reason=f"{holder} has it open"
                if holder is not None
                else f"{info.state_name}, and its server is gone",
            )
        )
    return found


def _adds(pid: int, node: str) -> bool:
    """Whether the process that added the device lives: it has that number, and is older than the device's node."""
    stat = read_stat(pid) if pid > 0 else None
    if stat is None or stat.state in "ZX":
        return False
    try:
        made = os.stat(node).st_ctime
    except OSError:
        return True  # the node comes or goes: somebody is at work
    ticks = os.sysconf("SC_CLK_TCK")
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + stat.start_time / ticks
    return began <= made + 1.0


def _age(node: str) -> float:
    """Seconds since the node was made."""
    try:
        return max(0.0, time.time() - os.stat(node).st_ctime)
    except OSError:
        return 0.0  # it comes or goes


def _holders(folder: str) -> dict[str, int]:
    """Node -> a process that has it open; of processes whose descriptors may be seen."""
    prefix = os.path.join(folder, "ublkc")
    found: dict[str, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            descriptors = os.listdir(f"/proc/{name}/fd")
        except OSError:
            continue  # it ended, or is another user's
        for each in descriptors:
            try:
                target = os.readlink(f"/proc/{name}/fd/{each}")
            except OSError:
                continue  # it was closed meanwhile
            if target.startswith(prefix):
                found.setdefault(target, int(name))
    return found
