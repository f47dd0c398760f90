"""What a runtime and the kernel made of a configuration: read back from inspect, the control group's files and the process, never from what was sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from duende.adapters.container.cgroup import Group
from duende.adapters.container.confined import confined
from duende.adapters.container.engine import Facts, Runtime
from duende.adapters.container.ignored import asked, ignored
from duende.adapters.container.plan import CPU_PERIOD
from duende.adapters.contract import Found, SettingReport
from duende.config.model import DaemonConfig, LogDestination
from duende.kernel.process import status_fields
from duende.kernel.rlimits import limit_text, soft_limits

PAGE = 4096
"""Bytes: the kernel rounds limits of memory down to whole pages."""
TMP = "/tmp"  # noqa: S108  (a mount point inside)
_LIMITS = {
    # name in /proc/PID/limits -> key
    "Max open files": "resources.open_files_max",
    "Max core file size": "resources.core_bytes",
    "Max stack size": "resources.stack_bytes",
}


def explain(
    config: DaemonConfig, answer: dict[str, Any], facts: Facts, group: Group | None, pid: int
) -> list[SettingReport]:
    """Every setting beside what was found: *answer* is the runtime's inspect, *group* and *pid* are there where the container is on this host."""
    left_out = {key: (value, why) for key, value, why in ignored(config, facts)}
    found = [
        *_limits(config, answer.get("HostConfig") or {}, group, left_out),
        *_processes(config, pid),
        *confined(config, answer, status_fields(pid) if pid else {}),
        *_container(config, answer, pid),
        *_health(config, answer, facts),
        *_policies(config, answer, facts),
    ]
    for key, (value, why) in left_out.items():
        section = key.partition(".")[0]
        if section == "resources" or asked(config, key):
            found.append(SettingReport(key=key, wanted=str(value), found="", outcome=Found.IGNORED, why=why))
    return found


def shares_to_weight(shares: int) -> int:
    """cpu.weight (cgroup v2) of cpu.shares (v1), as runc converts them (libcontainer/cgroups/utils.go)."""
    return 1 + ((shares - 2) * 9999) // 262142 if shares else 0


def _limits(
    config: DaemonConfig, host: dict[str, Any], group: Group | None, left_out: dict[str, Any]
) -> Iterator[SettingReport]:
    resources = config.resources
    memory, swap = resources.memory_bytes, resources.memory_swap_bytes
    yield from _limit(
        "resources.memory_bytes",
        memory,
        host.get("Memory"),
        group,
        "memory",
        ("memory.limit_in_bytes", "memory.max"),
        left_out,
    )
    yield from _limit(
        "resources.memory_swap_bytes",
        swap,
        host.get("MemorySwap"),
        group,
        "memory",
        ("memory.memsw.limit_in_bytes", "memory.swap.max"),
        left_out,
        less=memory,
    )
    yield from _limit(
        "resources.pids_max",
        resources.pids_max,
        host.get("PidsLimit"),
        group,
        "pids",
        ("pids.max", "pids.max"),
        left_out,
    )
    yield from _cpu(config, host, group, left_out)
    for key, field in (("io_read_bps", "BlkioDeviceReadBps"), ("io_write_bps", "BlkioDeviceWriteBps")):
        wanted = getattr(resources, key)
        if wanted and f"resources.{key}" not in left_out:
            yield _throttle(f"resources.{key}", wanted, host.get(field), group, field)


def _limit(
    key: str,
    wanted: int,
    said: Any,
    group: Group | None,
    controller: str,
    files: tuple[str, str],
    left_out: dict[str, Any],
    *,
    less: int = 0,
) -> Iterator[SettingReport]:
    """A limit in bytes or processes; *less* is what cgroup v2 counts apart (its swap is without memory)."""
    if key in left_out or not wanted:
        return
    text = group.read(controller, files[0], "") if group is not None else None
    where = files[0]
    if text is None and group is not None:
        text, where = group.read(controller, "", files[1]), files[1]
        if text is not None and text.strip().isdecimal():
            text = str(int(text) + less)
    if text is None:
        text, where = str(said) if said else "", "inspect: HostConfig"
    yield _compared(key, str(wanted), text.strip(), where)


def _compared(key: str, wanted: str, found: str, where: str) -> SettingReport:
    if found == wanted:
        return SettingReport(key=key, wanted=wanted, found=found, outcome=Found.HONOURED, why=where)
    bytes_both = key.endswith("_bytes") and found.isdecimal() and wanted.isdecimal()
    near = bytes_both and 0 <= int(wanted) - int(found) < PAGE
    why = f"{where}: in whole pages" if near else f"{where} says otherwise"
    return SettingReport(
        key=key, wanted=wanted, found=found, outcome=Found.APPROXIMATED if near else Found.IGNORED, why=why
    )


def _own(key: str, wanted: str, found: str, where: str) -> SettingReport:
    """What a `Daemon` class sets itself before anything else of it runs."""
    same = wanted == found
    why = where if same else f"{where}: it sets that itself, and has not yet, or has changed it since"
    outcome = Found.HONOURED if same else Found.APPROXIMATED
    return SettingReport(key=key, wanted=wanted, found=found, outcome=outcome, why=why)


def _cpu(
    config: DaemonConfig, host: dict[str, Any], group: Group | None, left_out: dict[str, Any]
) -> Iterator[SettingReport]:
    percent, shares = config.resources.cpu_quota_percent, config.resources.cpu_shares
    if "resources.cpu_quota_percent" not in left_out:
        quota, period, where = (
            host.get("CpuQuota") or 0,
            host.get("CpuPeriod") or CPU_PERIOD,
            "inspect: HostConfig",
        )
        if group is not None:
            v1 = (group.read("cpu", "cpu.cfs_quota_us", ""), group.read("cpu", "cpu.cfs_period_us", ""))
            v2 = (group.read("cpu", "", "cpu.max") or "").split()
            if v1[0] and v1[1]:
                quota, period, where = int(v1[0]), int(v1[1]), "cpu.cfs_quota_us"
            elif len(v2) == 2:
                quota, period, where = (-1 if v2[0] == "max" else int(v2[0])), int(v2[1]), "cpu.max"
        found = 100.0 * quota / period if quota > 0 else math.inf
        same = abs(found - percent) < 0.01
        yield SettingReport(
            key="resources.cpu_quota_percent",
            wanted=f"{percent:g}",
            found=f"{found:g}",
            outcome=Found.HONOURED if same else Found.APPROXIMATED if quota > 0 else Found.IGNORED,
            why=where
            if same
            else f"{where}: the kernel counts whole microseconds"
            if quota > 0
            else f"{where} sets no limit",
        )
    if "resources.cpu_shares" not in left_out:
        text = group.read("cpu", "cpu.shares", "") if group is not None else None
        weight = group.read("cpu", "", "cpu.weight") if group is not None and text is None else None
        if weight is not None:
            same = weight.strip() == str(shares_to_weight(shares))
            yield SettingReport(
                key="resources.cpu_shares",
                wanted=str(shares),
                found=f"weight {weight.strip()}",
                outcome=Found.APPROXIMATED if same else Found.IGNORED,
                why="cpu.weight counts 1 to 10000 where shares count 2 to 262144",
            )
        else:
            yield _compared(
                "resources.cpu_shares",
                str(shares),
                (text or str(host.get("CpuShares") or "")).strip(),
                "cpu.shares" if text else "inspect: HostConfig",
            )


def _throttle(key: str, wanted: int, said: Any, group: Group | None, field: str) -> SettingReport:
    kind = "read" if "Read" in field else "write"
    found = group.read("blkio", f"blkio.throttle.{kind}_bps_device", "io.max") if group is not None else None
    here = found is not None and str(wanted) in found.replace("=", " ").split()
    text = (found or "").strip() or str([each.get("Rate") for each in said or ()])
    v1 = group is not None and group.read("blkio", f"blkio.throttle.{kind}_bps_device", "") is not None
    buffered = v1 and kind == "write"
    if not here:
        outcome, why = Found.IGNORED, "the control group has no such line"
    elif buffered:
        outcome, why = (
            Found.APPROXIMATED,
            "cgroup v1 throttles direct writes, not those that wait in the page cache",
        )
    else:
        outcome, why = (
            Found.APPROXIMATED,
            "holds for the device of the runtime's folder, not for that of a mounted volume",
        )
    return SettingReport(key=key, wanted=str(wanted), found=text, outcome=outcome, why=why)


def _processes(config: DaemonConfig, pid: int) -> Iterator[SettingReport]:
    """What the main process has, where it is on this host."""
    if not pid:
        return
    limits = {name: limit_text(value) for name, value in soft_limits(pid).items()}
    for name, key in _LIMITS.items():
        wanted = getattr(config.resources, key.partition(".")[2])
        if wanted is not None and name in limits:
            yield _compared(key, str(wanted), limits[name], f"/proc/{pid}/limits")
    fields = status_fields(pid)
    if not fields:
        return
    where = f"/proc/{pid}/status"
    if config.resources.lock_memory:
        able = int(fields["CapEff"], 16) >> 14 & 1  # CAP_IPC_LOCK (<linux/capability.h>)
        text = "IPC_LOCK" if able else f"RLIMIT_MEMLOCK {limits.get('Max locked memory', '')}"
        free = able or limits.get("Max locked memory") == "unlimited"
        yield SettingReport(
            key="resources.lock_memory",
            wanted="true",
            found=text,
            outcome=Found.HONOURED if free else Found.APPROXIMATED,
            why=where,
        )
    if config.security.no_new_privileges:
        yield _compared("security.no_new_privileges", "1", fields["NoNewPrivs"], where)
    if config.security.umask is not None and config.daemon is not None:
        yield _own("security.umask", f"{config.security.umask:04o}", fields["Umask"], where)
    if config.resources.nice is not None and config.daemon is not None:
        import os

        yield _own(
            "resources.nice",
            str(config.resources.nice),
            str(os.getpriority(os.PRIO_PROCESS, pid)),
            "getpriority(2)",
        )


def _container(config: DaemonConfig, answer: dict[str, Any], pid: int) -> Iterator[SettingReport]:
    host, inside = answer.get("HostConfig") or {}, answer.get("Config") or {}
    security = config.security
    if not pid:
        limits = {
            each.get("Name", "").removeprefix("RLIMIT_").lower(): each.get("Soft")
            for each in host.get("Ulimits") or ()
        }
        yield _compared(
            "resources.open_files_max",
            str(config.resources.open_files_max),
            str(limits.get("nofile") or ""),
            "inspect: HostConfig.Ulimits",
        )
    if config.user is not None or config.group is not None:
        wanted = f"{config.user or '0'}:{config.group}" if config.group is not None else str(config.user)
        yield _compared("user", wanted, str(inside.get("User") or ""), "inspect: Config.User")
    if config.working_dir is not None:
        yield _compared(
            "working_dir",
            config.working_dir,
            str(inside.get("WorkingDir") or ""),
            "inspect: Config.WorkingDir",
        )
    if security.supplementary_groups:
        yield _same_set(
            "security.supplementary_groups",
            security.supplementary_groups,
            host.get("GroupAdd"),
            "inspect: HostConfig.GroupAdd",
        )
    if security.read_only_root:
        yield _compared(
            "security.read_only_root",
            "True",
            str(bool(host.get("ReadonlyRootfs"))),
            "inspect: HostConfig.ReadonlyRootfs",
        )
    if security.private_tmp:
        yield _compared(
            "security.private_tmp",
            "True",
            str(TMP in (host.get("Tmpfs") or {})),
            "inspect: HostConfig.Tmpfs",
        )
    if security.writable_paths:
        writable = [each.get("Destination") for each in answer.get("Mounts") or () if each.get("RW")]
        yield _same_set("security.writable_paths", security.writable_paths, writable, "inspect: Mounts")
    if security.drop_capabilities:
        yield _same_set(
            "security.drop_capabilities",
            security.drop_capabilities,
            _bare(host.get("CapDrop")),
            "inspect: HostConfig.CapDrop",
        )
    if security.add_capabilities:
        yield _same_set(
            "security.add_capabilities",
            security.add_capabilities,
            _bare(host.get("CapAdd")),
            "inspect: HostConfig.CapAdd",
        )


def _bare(names: Any) -> list[str]:
    return [str(name).removeprefix("CAP_") for name in names or ()]


def _same_set(key: str, wanted: tuple[str, ...], found: Any, why: str) -> SettingReport:
    have = [str(each) for each in found or ()]
    outcome = Found.HONOURED if set(wanted) <= set(have) else Found.IGNORED
    return SettingReport(key=key, wanted=" ".join(wanted), found=" ".join(have), outcome=outcome, why=why)


def _health(config: DaemonConfig, answer: dict[str, Any], facts: Facts) -> Iterator[SettingReport]:
    inside = answer.get("Config") or {}
    if config.health_check.enabled and config.health_check.exec:
        if facts.runtime is not Runtime.DOCKER:
            why = f"{facts.runtime.value} runs no checks by itself: this adapter runs it inside, while it is there"
            wanted = " ".join(config.health_check.exec)
            yield SettingReport(
                key="health_check.exec", wanted=wanted, found=wanted, outcome=Found.APPROXIMATED, why=why
            )
            return
        check = inside.get("Healthcheck") or {}
        argv = (check.get("Test") or [""])[1:]
        fits = argv == list(config.health_check.exec) and check.get("Retries") == config.health_check.retries
        yield SettingReport(
            key="health_check.exec",
            wanted=" ".join(config.health_check.exec),
            found=" ".join(map(str, argv)),
            outcome=Found.APPROXIMATED if fits else Found.IGNORED,
            why="inspect: Config.Healthcheck; one success makes it healthy again"
            if fits
            else "inspect: Config.Healthcheck says otherwise",
        )


def _policies(config: DaemonConfig, answer: dict[str, Any], facts: Facts) -> Iterator[SettingReport]:
    host = answer.get("HostConfig") or {}
    if config.restart.delegate:
        policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
        yield _compared(
            "restart.delegate",
            "no" if config.restart.policy.value == "never" else config.restart.policy.value,
            policy,
            "inspect: HostConfig.RestartPolicy",
        )
    log = host.get("LogConfig") or {}
    options = log.get("Config") or {}
    if facts.runtime is Runtime.CONTAINERD:
        return
    if config.logging.destination is LogDestination.NULL:
        yield _compared(
            "logging.destination", "none", str(log.get("Type") or ""), "inspect: HostConfig.LogConfig"
        )
    elif config.logging.destination is LogDestination.FILE:
        size = str(options.get("max-size") or log.get("Size") or "")
        fits = size.rstrip("Bb") == str(config.logging.max_bytes)
        yield SettingReport(
            key="logging.max_bytes",
            wanted=str(config.logging.max_bytes),
            found=size,
            outcome=Found.HONOURED if fits else Found.APPROXIMATED,
            why="inspect: HostConfig.LogConfig"
            if fits
            else "inspect: HostConfig.LogConfig: in the runtime's own units",
        )
        files = options.get("max-file")
        yield SettingReport(
            key="logging.backups",
            wanted=str(config.logging.backups),
            found=str(int(files) - 1) if files else "",
            outcome=Found.HONOURED if files == str(config.logging.backups + 1) else Found.IGNORED,
            why="inspect: HostConfig.LogConfig: max-file counts the present file too"
            if files
            else "this runtime keeps one file",
        )
