"""Attempts on limits of what daemons share with others: a disk's bandwidth, a network, the room on a file system."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path
from typing import Any

from duende.adapters.contract import DaemonHandle
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import DaemonConfig, ResourceConfig, SecurityConfig
from falsification.kit import Trial, attempt
from falsification.surroundings import NAMESPACES, THERE, btrfs, command, loop_device, namespaces
from falsification.workbench import adapter_for, never, request
from fixtures import limited

BPS = 4 << 20
NUMBERS = itertools.count(1)

WRITER = """
import mmap, os, sys, time
block = mmap.mmap(-1, 1 << 20)
block.write(b"x" * (1 << 20))
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
size, written, began = int(sys.argv[2]), 0, time.monotonic()
while time.monotonic() - began < float(sys.argv[3]):
    os.lseek(fd, written % size, os.SEEK_SET)
    written += os.write(fd, memoryview(block)[: 1 << 16])
print(f"{written} {time.monotonic() - began}", flush=True)
time.sleep(600)
"""


@attempt("F025", timeout=90, alone=True, saboteurs=["io-limit-is-not-written"])
async def test_io_bandwidth_limit_bites(trial: Trial) -> None:
    """A daemon that writes flat out to a block device, past the page cache, stays within its limit; without it, it is faster."""
    trial.situation("the device was faster than the limit")
    adapter = await adapter_for(trial)
    device = loop_device(trial, 64)

    async def rate(seconds: float, **limits: Any) -> float:
        handle = await limited.launch(
            adapter, limited.program("writer", WRITER, device, 64 << 20, seconds, **limits)
        )
        line = await limited.said(adapter, handle, seconds + 20)
        await adapter.stop(handle, 5.0)
        written, took = line.split()
        return int(written) / float(took)

    free = await rate(1.0)
    trial.reached("the device was faster than the limit", free > 2 * BPS)
    bound = await rate(trial.rounds(normal=10, under_saboteur=3), io_write_bps=BPS, io_devices=(device,))
    trial.figure("throughput without a limit", free / 1e6, unit="MB/s")
    trial.figure("throughput of the limit", 100 * bound / BPS, unit="%")
    trial.check(bound <= BPS, f"throughput is within the limit: {bound:.0f} of {BPS} bytes a second")


RATES = (400_000, 20_000_000)
"""Bytes a second."""
KINDS = (("tcp", ()), ("udp", ("--udp", "--bitrate", "0")))


def received(pid: int) -> int:
    """Bytes that the wire has brought into the network namespace of a process: with all headers, as its kernel counts them."""
    for line in Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "wire":
            return int(numbers.split()[0])
    raise LookupError(f"process {pid} has no wire")


async def arriving(pid: int, seconds: float) -> float:
    """Bytes a second that arrive, over a window that is never longer than *seconds* looks."""
    before, began = received(pid), time.monotonic()
    await asyncio.sleep(seconds)
    ended, after = time.monotonic(), received(pid)
    return (after - before) / (ended - began)


def in_namespace(name: str, kind: str, *argv: str, bps: int = 0) -> DaemonConfig:
    """iperf3 as a daemon in a network namespace, limited there."""
    config = DaemonConfig(
        name=f"{kind}-{next(NUMBERS)}",
        binary_path="iperf3",
        args=argv,
        resources=ResourceConfig(network_bps=bps),
        security=SecurityConfig(network_namespace=str(NAMESPACES / name)),
    )
    return never(config)


@attempt(
    "F026",
    timeout=150,
    alone=True,
    needs=["iperf3", "tc", "nsenter"],
    saboteurs=[
        "network-limit-is-not-set",
        "network-rate-is-taken-for-bits",
        "daemon-stays-in-the-hosts-network",
    ],
)
async def test_network_bandwidth_limit_bites(trial: Trial) -> None:
    """iperf3, TCP and UDP flat out, sends no more than its limit, at several limits and after a change while it runs; without one it is faster."""
    trial.situation("the wire was faster than the limit", at_least=2)
    trial.situation("a daemon sent up to its limit", at_least=4)
    ours, theirs = namespaces(trial)
    adapter = await adapter_for(trial)
    line = ("netns", "exec", theirs, "iperf3", "--server")  # not by what is on trial
    server = await adapter.launch(request(never(DaemonConfig(name="server", binary_path="ip", args=line))))
    await trial.until(lambda: listening(server.pid), within=15, what="the server listens")
    shares: list[float] = []
    seconds = trial.rounds(normal=5, under_saboteur=2)

    async def within(limit: int, what: str) -> None:
        await trial.until(lambda: flows(server.pid), within=15, what="something arrives")
        rate = await arriving(server.pid, seconds)
        shares.append(100 * rate / limit)
        trial.reached("a daemon sent up to its limit", rate > limit / 2)
        trial.check(rate <= limit, f"{what}: {rate:.0f} of {limit} bytes a second")

    senders = {kind: ("--client", THERE, "--time", "60", "--interval", "0", *more) for kind, more in KINDS}
    for kind, sender in senders.items():
        plain = ("netns", "exec", ours, "iperf3", *sender)
        free = await adapter.launch(
            request(never(DaemonConfig(name=f"free-{kind}", binary_path="ip", args=plain)))
        )
        await trial.until(lambda: flows(server.pid), within=15, what="something arrives")
        rate = await arriving(server.pid, 1.0)
        trial.reached("the wire was faster than the limit", rate > 2 * RATES[-1])
        trial.figure(f"{kind} without a limit", rate / 1e6, unit="MB/s")
        await ended(trial, adapter, free, server.pid)
    for (kind, sender), limit in itertools.product(senders.items(), RATES):
        config = in_namespace(ours, kind, *sender, bps=limit)
        handle = await adapter.launch(request(config))
        inside = Path(f"/proc/{handle.pid}/ns/net").stat().st_ino == (NAMESPACES / ours).stat().st_ino
        trial.check(inside, f"it is in its network namespace, {ours}")
        await within(limit, kind)
        if limit == RATES[0]:
            changed = in_namespace(ours, kind, *sender, bps=2 * limit)
            await adapter.update_limits(handle, changed, config)
            await within(2 * limit, f"{kind}, changed while it runs")
        await ended(trial, adapter, handle, server.pid)
    trial.figure("throughput of the limit", max(shares), unit="%")


def listening(pid: int) -> bool:
    """Whether a TCP socket listens in the network namespace of a process (proc(5), state 0A)."""
    rows = [
        line.split() for line in Path(f"/proc/{pid}/net/tcp6").read_text(encoding="ascii").splitlines()[1:]
    ]
    return any(row[3] == "0A" for row in rows)


async def flows(pid: int) -> bool:
    """Whether more than a greeting arrives there now."""
    before = received(pid)
    await asyncio.sleep(0.1)
    return received(pid) - before > 10_000


async def ended(trial: Trial, adapter: NativeAdapter, handle: DaemonHandle, server: int) -> None:
    """Stop a sender, and let its server see that it has gone: it serves one at a time."""
    await adapter.stop(handle, 5.0)
    await trial.until(lambda: not established(server), within=15, what="the server is free again")


def established(pid: int) -> bool:
    """Whether a TCP connection lives in the network namespace of a process (proc(5), state 01)."""
    text = Path(f"/proc/{pid}/net/tcp6").read_text(encoding="ascii")
    return any(line.split()[3] == "01" for line in text.splitlines()[1:])


FILLER = """
import errno, os, sys, time
folder, wanted, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
written, number = 0, 0
block = os.urandom(size)
try:
    while written < wanted:
        fd = os.open(f"{folder}/{number % 8}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        written += os.write(fd, block)
        os.close(fd)
        number += 1
except OSError as error:
    print(f"{errno.errorcode[error.errno]} after {written}", flush=True)
else:
    print(f"got all {written}", flush=True)
time.sleep(600)
"""
QUOTA_MIB, FULL_MIB = 8, 24


def filler(folder: Path, size: int, quota: int = 0) -> DaemonConfig:
    """A program that writes FULL_MIB into *folder*, *size* bytes a call, under a quota."""
    config = DaemonConfig(
        name=f"filler-{next(NUMBERS)}",
        binary_path=sys.executable,
        args=("-c", FILLER, str(folder), str(FULL_MIB << 20), str(size)),
        working_dir=str(folder),
        resources=ResourceConfig(disk_bytes=quota),
    )
    return never(config)


@attempt(
    "F027",
    timeout=90,
    needs=["btrfs"],
    saboteurs=["disk-quota-is-not-set", "disk-quota-counts-what-is-not-shared"],
)
async def test_disk_quota_bites(trial: Trial) -> None:
    """A daemon that writes past its folder's quota gets EDQUOT from write(), whether it writes little or much at a time; without a quota it gets all."""
    trial.situation("a daemon wrote past its quota", at_least=3)
    trial.situation("the same daemon had room enough", at_least=2)
    adapter = await adapter_for(trial)
    place = btrfs(trial, 512)

    async def fill(folder: Path, size: int, quota: int = 0) -> str:
        handle = await adapter.launch(request(filler(folder, size, quota)))
        line = await limited.said(adapter, handle, 30)
        await adapter.stop(handle, 5.0)
        return line

    for number, size in enumerate((1 << 12, 1 << 16, 1 << 20)):
        folder = place / str(number)
        command("btrfs", "subvolume", "create", str(folder))
        line = await fill(folder, size, QUOTA_MIB << 20)
        trial.check(line.startswith("EDQUOT after "), f"write() of {size} bytes fails with EDQUOT: {line!r}")
        written = int(line.split()[-1])
        trial.check(written <= QUOTA_MIB << 20, f"it wrote no more than {QUOTA_MIB} MiB: {written}")
        trial.figure(f"written of {QUOTA_MIB} MiB, {size} a call", written / (1 << 20), unit="MiB")
        trial.reached("a daemon wrote past its quota")
        again = await fill(folder, size, QUOTA_MIB << 20)
        trial.check(again.startswith("EDQUOT after "), f"and so it does when it is started again: {again!r}")
    roomy = place / "roomy"
    command("btrfs", "subvolume", "create", str(roomy))
    for quota in (0, 2 * FULL_MIB << 20):
        line = await fill(roomy, 1 << 16, quota)
        trial.reached("the same daemon had room enough", line == f"got all {FULL_MIB << 20}")
        for file in roomy.iterdir():
            file.unlink()
    config = filler(roomy, 1 << 16, QUOTA_MIB << 20)
    handle = await adapter.launch(request(config))
    told: dict[str, Any] = {report.key: report for report in await adapter.explain(handle, config)}
    report = told["resources.disk_bytes"]
    trial.check(
        report.found == str(QUOTA_MIB << 20), f"explain reads the quota back from the file system: {report}"
    )
