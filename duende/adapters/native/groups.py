"""Control groups of native daemons: made before a start, entered before the first instruction, watched, and removed when nothing is left.

A daemon that asks for nothing but the default limits has no group: it gets its rlimits, as ever, and costs nothing more.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, Found, SettingReport, SpawnRequest
from duende.adapters.native.ignored import CONTROLLED, asked, value_of
from duende.adapters.used import Used
from duende.config.model import DaemonConfig
from duende.errors import PlatformResourceError
from duende.policy.cgroups.disks import disk_of
from duende.policy.cgroups.readings import Usage
from duende.policy.cgroups.view import CONTROLLERS, View, this_host
from duende.policy.cgroups.writes import Limits, quota_of
from duende.policy.limiter import ResourceLimiter

FILES = {
    "memory.max": "resources.memory_bytes",
    "memory.limit_in_bytes": "resources.memory_bytes",
    "memory.swap.max": "resources.memory_swap_bytes",
    "memory.memsw.limit_in_bytes": "resources.memory_swap_bytes",
    "cpu.max": "resources.cpu_quota_percent",
    "cpu.cfs_quota_us": "resources.cpu_quota_percent",
    "cpu.weight": "resources.cpu_shares",
    "cpu.shares": "resources.cpu_shares",
    "pids.max": "resources.pids_max",
}
"""File of a group -> the key it is written for."""
LOOK_EVERY = 0.25
"""Seconds between looks at what happened in the groups: an alert is due within one."""
STALLED = 0.5
"""Share of the time since the last look that some process waited for memory, or for input and output: from there on it is told."""
QUIET = 60.0
"""Seconds after an alert of throttling or waiting before the next one of its kind: a daemon at its quota is held back ten times a second."""
GONE_WITHIN = 2.0
"""Seconds until the kernel must have emptied a group that was killed."""


@functools.cache
def host_view() -> View:
    """The control groups of this host, looked up once."""
    return this_host()


def asks(config: DaemonConfig) -> set[str]:
    """The controllers that somebody asked for: those of values that are not the default."""
    return {controller for key, controller in CONTROLLED.items() if asked(config, key)}


def has_memory(config: DaemonConfig) -> bool:
    """Whether the memory of *config*'s daemon is limited by a group, and needs no rlimit."""
    return bool(asks(config)) and host_view().home_of("memory") is not None


def limits_of(config: DaemonConfig) -> Limits:
    """The limits of a group for *config*.

    Raises:
        PlatformResourceError: a number or a device makes no sense on this host.
    """
    resources = config.resources
    cores = os.cpu_count() or 1
    percent: float | None = resources.cpu_quota_percent
    if percent is not None and percent > 100 * cores:
        if asked(config, "resources.cpu_quota_percent") and not config.best_effort:
            raise PlatformResourceError(
                f"cannot limit {config.name!r} to {percent:g} % of a core: this machine has {cores} cores",
                remedy=f"use {100 * cores} or less",
            )
        percent = None
    if percent is not None:
        try:
            quota_of(percent)
        except ValueError as error:
            raise PlatformResourceError(f"cannot limit the CPU time of {config.name!r}: {error}") from error
    reads: tuple[tuple[str, int], ...] = ()
    writes: tuple[tuple[str, int], ...] = ()
    if resources.io_read_bps or resources.io_write_bps:
        devices = _devices(config)
        reads = tuple((device, resources.io_read_bps) for device in devices if resources.io_read_bps)
        writes = tuple((device, resources.io_write_bps) for device in devices if resources.io_write_bps)
    return Limits(
        memory_bytes=resources.memory_bytes or None,
        memory_swap_bytes=resources.memory_swap_bytes
        if asked(config, "resources.memory_swap_bytes")
        else None,
        cpu_percent=percent,
        cpu_shares=resources.cpu_shares,
        pids=resources.pids_max,
        read_bps=reads,
        write_bps=writes,
    )


def _devices(config: DaemonConfig) -> list[str]:
    """MAJOR:MINOR of the disks whose input and output is limited."""
    if config.resources.io_devices:
        return [_device(config, path) for path in config.resources.io_devices]
    folder = config.working_dir or "/"
    node = disk_of(folder)
    if not node:
        raise PlatformResourceError(
            f"cannot limit I/O of {config.name!r}: the file system of {folder} is on no block device of its own, or is not there",
            remedy='name the disks: resources.io_devices = ["/dev/..."]',
        )
    with open(f"{node}/dev", encoding="ascii") as file:
        return [file.read().strip()]


def _device(config: DaemonConfig, path: str) -> str:
    try:
        about = os.stat(path)
    except OSError as error:
        raise PlatformResourceError(
            f"cannot limit I/O of {config.name!r}: {path}: {error.strerror}",
            remedy="name a block device that exists",
        ) from error
    if not stat.S_ISBLK(about.st_mode):
        raise PlatformResourceError(
            f"cannot limit I/O of {config.name!r}: {path} is no block device",
            remedy="name a whole disk, as /dev/vda",
        )
    return f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"


class Groups:
    """The groups of one adapter."""

    def __init__(self, runtime_dir: str, emit: Callable[[AdapterEvent], None]) -> None:
        self._mark = f"duende-{hashlib.sha256(os.path.abspath(runtime_dir).encode()).hexdigest()[:8]}-"
        self._emit = emit
        self._made: dict[str, ResourceLimiter] = {}
        self._seen: dict[str, Usage] = {}
        self._told: dict[tuple[str, str], float] = {}
        """When which kind of alert of a daemon was raised last."""
        self._looked: dict[str, float] = {}
        self._used = Used()
        self._watching: asyncio.Task[None] | None = None
        self._swept = False

    def prepare(self, request: SpawnRequest) -> tuple[str, ...]:
        """Make the group of a daemon; the files through which its process enters it. Empty where it is to have none.

        Raises:
            PlatformResourceError: a limit that was asked for cannot be enforced; nothing is left behind.
        """
        config = request.config
        wanted = asks(config)
        if not self._swept:
            self._swept = True
            self._sweep()
        limiter = ResourceLimiter(self._name(request.daemon_id), limits_of(config), view=host_view())
        loose = set(CONTROLLERS) if config.best_effort else set(CONTROLLERS) - wanted
        if not asked(config, "resources.memory_swap_bytes"):
            loose.add("memory")  # without a group for it memory has its rlimit
        limiter.apply(loose=loose)
        self._hold(request.daemon_id, limiter)
        return tuple(f"{path}/cgroup.procs" for path in limiter.paths)

    def of(self, daemon_id: str) -> list[str]:
        """The folders of a daemon's group; none where it has none of this adapter's."""
        limiter = self._made.get(daemon_id)
        return limiter.paths if limiter is not None else []

    def find(self, handle: DaemonHandle, config: DaemonConfig | None = None) -> ResourceLimiter | None:
        """The group of a daemon, also of one that an earlier process started."""
        known = self._made.get(handle.daemon_id)
        if known is not None:
            return known
        limiter = ResourceLimiter(
            self._name(handle.daemon_id), limits_of(config) if config is not None else None, view=host_view()
        )
        if not limiter.exists:
            return None
        self._hold(handle.daemon_id, limiter)
        return limiter

    def update(self, handle: DaemonHandle, config: DaemonConfig) -> None:
        """Put the limits of *config* in force for a daemon that runs.

        Raises:
            PlatformResourceError: it has no group, or a limit cannot be enforced; the old limits stay as far as they were not changed yet.
        """
        limiter = self.find(handle)
        if limiter is None:
            raise PlatformResourceError(
                f"cannot change the limits of {handle.name!r}: it was started without limits of its own",
                remedy="change its configuration and restart it once",
            )
        limiter.apply(limits_of(config), loose=set(CONTROLLERS) - asks(config))

    def usage(self, handle: DaemonHandle) -> dict[str, float]:
        """What is used, by the keys of `[resources]`; nothing of a daemon without a group."""
        limiter = self.find(handle)
        return {} if limiter is None else self._used.told(handle, limiter.usage())

    async def empty(self, daemon_id: str) -> str:
        """End what is left of a stopped daemon's group, and remove it; what that proves, for the certificate."""
        limiter = self._made.get(daemon_id)
        if limiter is None:
            return ""
        self._look(daemon_id, limiter)  # the last one: what its files tell goes with them
        strays = limiter.members()
        if strays:
            await asyncio.to_thread(limiter.kill)
        deadline = time.monotonic() + GONE_WITHIN
        while not limiter.remove():
            if time.monotonic() > deadline:
                return f"processes {limiter.members()} are left in its control group"
            await asyncio.sleep(0.002)
        self._drop(daemon_id)
        return "its control group is empty" + (f", after {len(strays)} in it were killed" if strays else "")

    def discard(self, daemon_id: str) -> None:
        """Remove the group of a daemon that has ended, if nothing is in it."""
        limiter = self._made.get(daemon_id)
        if limiter is not None:
            self._look(daemon_id, limiter)
            if limiter.remove():
                self._drop(daemon_id)

    def close(self, *, keep: bool) -> None:
        """Stop watching; without *keep* remove what is empty."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if not keep:
            for daemon_id in list(self._made):
                self.discard(daemon_id)

    # -- below ---------------------------------------------------------------------------------------------------------------

    def _name(self, daemon_id: str) -> str:
        return f"{self._mark}{daemon_id[:13]}"

    def _hold(self, daemon_id: str, limiter: ResourceLimiter) -> None:
        self._made[daemon_id] = limiter
        self._seen[daemon_id] = limiter.usage()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    def _drop(self, daemon_id: str) -> None:
        self._made.pop(daemon_id, None)
        self._used.forget(daemon_id)
        for known in (self._seen, self._looked):
            known.pop(daemon_id, None)
        for key in [key for key in self._told if key[0] == daemon_id]:
            del self._told[key]

    def _sweep(self) -> None:
        """Remove empty groups that an earlier process of the same folder left when it was killed."""
        for base in {tree.base for tree in host_view().hierarchies}:
            try:
                names = os.listdir(base)
            except OSError:
                continue  # not even to be looked at: nothing of ours can be in it
            for name in names:
                if name.startswith(self._mark):
                    try:
                        os.rmdir(f"{base}/{name}")
                    except OSError:
                        pass  # its daemon lives, and will be adopted

    async def _watch(self) -> None:
        while self._made:
            await asyncio.sleep(LOOK_EVERY)
            for daemon_id, limiter in list(self._made.items()):
                self._look(daemon_id, limiter)

    def _look(self, daemon_id: str, limiter: ResourceLimiter) -> None:
        """Tell what happened in a group since the last look."""
        before, now = self._seen.get(daemon_id), limiter.usage()
        at = time.monotonic()
        since = at - self._looked.get(daemon_id, at)
        self._seen[daemon_id], self._looked[daemon_id] = now, at
        if before is not None:
            for detail in (
                *self._news(daemon_id, limiter, before, now),
                *self._waits(daemon_id, before, now, since),
            ):
                self._emit(AdapterEvent(daemon_id=daemon_id, kind=EventKind.LIMIT, detail=detail))

    def _news(self, daemon_id: str, limiter: ResourceLimiter, before: Usage, now: Usage) -> Iterator[str]:
        limits = limiter.limits
        if (now.oom_kills or 0) > (before.oom_kills or 0):
            killed = (now.oom_kills or 0) - (before.oom_kills or 0)
            yield f"memory: {killed} process(es) killed at {_known(limits.memory_bytes)} bytes"
        if (now.refused_forks or 0) > (before.refused_forks or 0):
            refused = (now.refused_forks or 0) - (before.refused_forks or 0)
            yield f"pids: {refused} fork(s) refused at {_known(limits.pids)}"
        if (now.throttled or 0) > (before.throttled or 0) and self._due(daemon_id, "cpu"):
            yield f"cpu: held back at {_known(limits.cpu_percent)} % of a core"

    def _waits(self, daemon_id: str, before: Usage, now: Usage, since: float) -> Iterator[str]:
        """Pressure, where the kernel keeps it."""
        for kind, earlier, later in (
            ("memory", before.memory_stalled, now.memory_stalled),
            ("io", before.io_stalled, now.io_stalled),
        ):
            if earlier is not None and later is not None and since > 0:
                share = (later - earlier) / since
                if share > STALLED and self._due(daemon_id, f"{kind} pressure"):
                    yield f"{kind}: processes waited for it {min(1.0, share):.0%} of the time"

    def _due(self, daemon_id: str, kind: str) -> bool:
        last = self._told.get((daemon_id, kind))
        if last is not None and time.monotonic() - last <= QUIET:
            return False
        self._told[daemon_id, kind] = time.monotonic()
        return True


def _known(limit: float | None) -> str:
    """A limit in a message; of a daemon that an earlier process started nobody here has said which it is."""
    return "its limit of ?" if limit is None else f"{limit:.12g}"


def explain(limiter: ResourceLimiter, config: DaemonConfig) -> Iterator[SettingReport]:
    """Each limit of a group beside what its file shows."""
    told = set()
    for file, (written, shown) in limiter.shown().items():
        key = FILES.get(file)
        if key is None:
            continue
        told.add(key)
        yield SettingReport(
            key=key,
            wanted=str(value_of(config, key)),
            found=shown,
            outcome=Found.HONOURED if written == shown else Found.APPROXIMATED,
            why=f"cgroup file {file}",
        )
    for key in ("resources.io_read_bps", "resources.io_write_bps"):
        if value_of(config, key):
            told.add(key)
            shown = "; ".join(
                text for file, (_, text) in limiter.shown().items() if file.startswith(("io.", "blkio."))
            )
            outcome = Found.HONOURED if shown else Found.IGNORED
            yield SettingReport(
                key=key,
                wanted=str(value_of(config, key)),
                found=shown,
                outcome=outcome,
                why="cgroup io limit",
            )
    for key in CONTROLLED:
        if key not in told and asked(config, key):
            yield SettingReport(
                key=key,
                wanted=str(value_of(config, key)),
                found="",
                outcome=Found.IGNORED,
                why="no such controller here",
            )
