"""From limits to what is written into the files of a group: pure."""

from __future__ import annotations

import math

import msgspec

PERIODS = (20_000, 100_000, 1_000_000)
"""Microseconds, the first that the quota can be counted in: the kernel's own default is the second (cgroup-v2.rst, cpu.max). Shorter ones hold a
daemon back more often and less long."""
WINDOW = 5_000_000
"""Microseconds over which CPU time must stay within quota x wall time. Such a window may begin just before a daemon uses up a period's quota and
end just after it has used up another's: it holds one quota more than periods, and so much less is asked for."""
QUOTA_LEAST = 1000
"""Microseconds: the smallest quota the kernel takes (sched-bwc.rst)."""
SLICE = 100_000
"""Microseconds for which the kernel lets input and output through at once (block/blk-throttle.c, DFL_THROTL_SLICE on disks): as with CPU time, a
window holds one slice more than its length, and so much less is asked for."""
Writes = list[tuple[str, str]]
"""(file, text), in the order in which they must be written."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one group; None leaves the kernel's default, which is none."""

    memory_bytes: int | None = None
    memory_swap_bytes: int | None = None
    """Memory plus swap."""
    cpu_percent: float | None = None
    """100 is one core."""
    cpu_shares: int | None = None
    """1024 is the weight of everybody."""
    pids: int | None = None
    read_bps: tuple[tuple[str, int], ...] = ()
    """(MAJOR:MINOR, bytes a second)."""
    write_bps: tuple[tuple[str, int], ...] = ()


def writes(limits: Limits, controller: str, version: int) -> Writes:
    """What is written for one controller.

    Raises:
        ValueError: the CPU quota is none the kernel can count.
    """
    makers = {"memory": _memory, "cpu": _cpu, "pids": _pids, "io": _io}
    return makers[controller](limits, version) if controller in makers else []


def _memory(limits: Limits, version: int) -> Writes:
    memory, total = limits.memory_bytes, limits.memory_swap_bytes
    if memory is None:
        return []
    if version == 2:
        found = [("memory.max", str(memory))]
        if total is not None:
            found.append(("memory.swap.max", str(max(0, total - memory))))  # swap alone
        return found
    found = [("memory.limit_in_bytes", str(memory))]
    if total is not None:
        found.append(("memory.memsw.limit_in_bytes", str(max(total, memory))))
    return found


def quota_of(percent: float) -> tuple[int, int]:
    """(quota, period) in microseconds of a percentage of one core.

    Raises:
        ValueError: it is no number the kernel can count.
    """
    if not 0 < percent < math.inf:
        raise ValueError(f"{percent!r} is no percentage of a core")
    for period in PERIODS:
        spared = period / WINDOW if period < PERIODS[-1] else 0.0
        quota = math.floor(percent * period / 100 * (1.0 - spared))
        if quota >= QUOTA_LEAST:
            return quota, period
    raise ValueError(f"{percent:g} is below what the kernel can count; use 0.1 or more")


def weight_of(shares: int) -> int:
    """cpu.weight for cpu.shares: 1 + (shares - 2) x 9999 / 262142, which maps 2..262144 to 1..10000 (OCI runtimes' conversion)."""
    bounded = max(2, min(shares, 262_144))
    return 1 + (bounded - 2) * 9999 // 262_142


def _cpu(limits: Limits, version: int) -> Writes:
    found: Writes = []
    if limits.cpu_shares is not None:
        if version == 2:
            found.append(("cpu.weight", str(weight_of(limits.cpu_shares))))
        else:
            found.append(("cpu.shares", str(max(2, min(limits.cpu_shares, 262_144)))))
    if limits.cpu_percent is not None:
        quota, period = quota_of(limits.cpu_percent)
        if version == 2:
            found.append(("cpu.max", f"{quota} {period}"))
        else:
            found += [("cpu.cfs_period_us", str(period)), ("cpu.cfs_quota_us", str(quota))]
    return found


def _pids(limits: Limits, version: int) -> Writes:
    del version
    return [] if limits.pids is None else [("pids.max", str(limits.pids))]


def sustained(bps: int) -> int:
    """The rate to set so that no window sees more than *bps*."""
    return max(1, bps * (WINDOW - SLICE) // WINDOW)


def _io(limits: Limits, version: int) -> Writes:
    reads = {device: sustained(bps) for device, bps in limits.read_bps}
    sent = {device: sustained(bps) for device, bps in limits.write_bps}
    if version == 1:
        return [
            *(("blkio.throttle.read_bps_device", f"{device} {bps}") for device, bps in reads.items()),
            *(("blkio.throttle.write_bps_device", f"{device} {bps}") for device, bps in sent.items()),
        ]
    return [
        ("io.max", f"{device} rbps={reads.get(device) or 'max'} wbps={sent.get(device) or 'max'}")
        for device in sorted({*reads, *sent})
    ]
