"""What systemd and the kernel made of a configuration: properties read back, and the files of the control group and of /proc where they can be seen.

A property says what systemd was told and understood; whether it took effect the kernel says. Where both can be read, the kernel's word counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from duende.adapters.contract import Found, SettingReport
from duende.adapters.native.ignored import asked, value_of
from duende.adapters.systemd import cgroup
from duende.adapters.systemd.facts import Facts
from duende.adapters.systemd.ignored import grows, ignored
from duende.adapters.systemd.parse import plain
from duende.adapters.systemd.render import (
    INFINITY,
    RESTARTS,
    bounding_set,
    capability_mask,
    given_capabilities,
    microseconds,
    restart_steps,
    weight_of,
)
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.kernel.process import status_fields
from duende.restart import UNLIMITED

HUGE = 2**63 - 4096 * 4
"""What cgroup v1 shows for no limit is a little below 2**63, rounded to pages."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was read back of a running unit."""

    properties: dict[str, Any]
    """Of the interfaces Service and Unit, without Variants."""
    pid: int = 0
    """Its main process as seen from here, 0 where it cannot be seen."""
    group: str = ""
    """ControlGroup."""


def explain(config: DaemonConfig, evidence: Evidence, facts: Facts) -> list[SettingReport]:
    """Every setting beside what was read back."""
    without = dict(ignored(config, facts))
    reports = [
        *_resources(config, evidence, facts),
        *_rlimits(config, evidence),
        *_lifecycle(config, evidence),
        *_restart(config, evidence, facts),
        *_identity(config, evidence),
        *_security(config, evidence),
        *_output(config, evidence),
    ]
    done: list[SettingReport] = []
    for report in reports:
        why = without.pop(report.key, None)
        if why is not None and report.outcome is not Found.HONOURED:
            done.append(msgspec.structs.replace(report, outcome=Found.IGNORED, why=why))
        else:
            done.append(report)
    seen = {report.key for report in done}
    for key, why in without.items():
        if key not in seen and (asked(config, key) or (key.startswith("resources.") and value_of(config, key))):
            done.append(_report(key, value_of(config, key), "", Found.IGNORED, why))
    return done


def _report(key: str, wanted: object, found: object, outcome: Found, why: str) -> SettingReport:
    return SettingReport(key=key, wanted=_text(wanted), found=_text(found), outcome=outcome, why=why)


def _text(value: object) -> str:
    if value == INFINITY:
        return "unlimited"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value)


def _same(key: str, wanted: object, found: object, why: str) -> SettingReport:
    return _report(key, wanted, found, Found.HONOURED if wanted == found else Found.IGNORED, why)


class _File:
    """A file of the control group that shows a limit: of cgroup v2, and of v1 in a hierarchy."""

    def __init__(self, v2: str, hierarchy: str, v1: str) -> None:
        self.v2, self.hierarchy, self.v1 = v2, hierarchy, v1

    def read(self, evidence: Evidence, facts: Facts) -> tuple[str, str | None]:
        """Its name, and its text where it can be read."""
        name = self.v2 if facts.unified else self.v1
        if not name:
            return "", None
        return name, cgroup.read(evidence.group, self.hierarchy, name, unified=facts.unified)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "max":
        return INFINITY
    return int(text) if text.lstrip("-").isdecimal() else None


def _limited(
    key: str, wanted: int, prop: str, file: _File, evidence: Evidence, facts: Facts, read: Callable[[str | None], int | None] = _number
) -> SettingReport:
    name, text = file.read(evidence, facts)
    found = read(text)
    if found is not None:
        outcome = Found.HONOURED if found == wanted else Found.IGNORED if found >= HUGE else Found.APPROXIMATED
        # The kernel rounds sizes to pages.
        if outcome is Found.APPROXIMATED and wanted - found < 4096 and found <= wanted:
            outcome = Found.HONOURED
        return _report(key, wanted, found, outcome, f"{name} of {evidence.group}")
    told = evidence.properties.get(prop)
    if told == wanted:
        return _report(key, wanted, told, Found.HONOURED, f"{prop}= of the unit; its control group cannot be seen from here")
    return _report(key, wanted, "" if told is None else told, Found.IGNORED, f"{prop}= of the unit")


def _resources(config: DaemonConfig, evidence: Evidence, facts: Facts) -> Iterator[SettingReport]:
    resources = config.resources
    if resources.memory_bytes:
        memory = _File("memory.max", "memory", "memory.limit_in_bytes")
        yield _limited("resources.memory_bytes", resources.memory_bytes, "MemoryMax", memory, evidence, facts)
        if resources.memory_swap_bytes and facts.unified:
            swap = max(0, resources.memory_swap_bytes - resources.memory_bytes)
            report = _limited(
                "resources.memory_swap_bytes", swap, "MemorySwapMax", _File("memory.swap.max", "", ""), evidence, facts
            )
            yield msgspec.structs.replace(report, why=f"{report.why}; swap alone, memory apart")
    yield _limited(
        "resources.pids_max", resources.pids_max, "TasksMax", _File("pids.max", "pids", "pids.max"), evidence, facts
    )
    yield _quota(config, evidence, facts)
    yield _shares(config, evidence, facts)
    for key, wanted, prop in (
        ("resources.io_read_bps", resources.io_read_bps, "IOReadBandwidthMax"),
        ("resources.io_write_bps", resources.io_write_bps, "IOWriteBandwidthMax"),
    ):
        if wanted:
            yield _bandwidth(key, wanted, prop, evidence, facts)


def _quota(config: DaemonConfig, evidence: Evidence, facts: Facts) -> SettingReport:
    key, wanted = "resources.cpu_quota_percent", config.resources.cpu_quota_percent
    if facts.unified:
        text = cgroup.read(evidence.group, "", "cpu.max", unified=True)
        name, pair = "cpu.max", text.split() if text else []
    else:
        quota = cgroup.read(evidence.group, "cpu", "cpu.cfs_quota_us", unified=False)
        period = cgroup.read(evidence.group, "cpu", "cpu.cfs_period_us", unified=False)
        name, pair = "cpu.cfs_quota_us", [quota, period] if quota and period else []
    if len(pair) == 2:
        if pair[0] in ("max", "-1"):
            return _report(key, wanted, "unlimited", Found.IGNORED, f"{name} of {evidence.group}")
        percent = 100.0 * int(pair[0]) / int(pair[1])
        near = Found.HONOURED if abs(percent - wanted) <= wanted * 0.01 + 0.01 else Found.APPROXIMATED
        return _report(key, wanted, f"{percent:g}", near, f"{name} of {evidence.group}")
    told = evidence.properties.get("CPUQuotaPerSecUSec")
    return _same(key, max(1, round(wanted * 10_000)), told, "CPUQuotaPerSecUSec= of the unit, in microseconds")


def _shares(config: DaemonConfig, evidence: Evidence, facts: Facts) -> SettingReport:
    key, wanted = "resources.cpu_shares", config.resources.cpu_shares
    if not facts.unified:
        return _limited(key, wanted, "CPUShares", _File("", "cpu", "cpu.shares"), evidence, facts)
    weight = weight_of(wanted)
    name, text = _File("cpu.weight", "", "").read(evidence, facts)
    found = _number(text) if text is not None else evidence.properties.get("CPUWeight")
    where = f"{name} of {evidence.group}" if text is not None else "CPUWeight= of the unit"
    if found != weight:
        return _report(key, wanted, found, Found.IGNORED, where)
    exact = weight * 1024 == wanted * 100
    return _report(
        key, wanted, found, Found.HONOURED if exact else Found.APPROXIMATED, f"{where}: a weight, of which 100 are 1024 shares"
    )


def _bandwidth(key: str, wanted: int, prop: str, evidence: Evidence, facts: Facts) -> SettingReport:
    told = [[str(path), int(rate)] for path, rate in evidence.properties.get(prop) or []]
    right = [path for path, rate in told if rate == wanted]
    if set(right) != set(facts.disks) or not right:
        return _report(key, wanted, told, Found.IGNORED, f"{prop}= of the unit")
    if len(right) > 1:
        return _report(key, wanted, wanted, Found.APPROXIMATED, f"{prop}= of the unit: on each of {len(right)} disks, not on all together")
    return _report(key, wanted, wanted, Found.HONOURED, f"{prop}= of the unit")


_RLIMITS = {
    "Max open files": ("resources.open_files_max", "open_files_max"),
    "Max core file size": ("resources.core_bytes", "core_bytes"),
    "Max stack size": ("resources.stack_bytes", "stack_bytes"),
    "Max address space": ("resources.address_space_bytes", "address_space_bytes"),
}
"""The name in /proc/<pid>/limits -> the key, and the field."""
_PROPERTIES = {
    "Max open files": "LimitNOFILESoft", "Max core file size": "LimitCORESoft", "Max stack size": "LimitSTACKSoft",
    "Max address space": "LimitASSoft", "Max locked memory": "LimitMEMLOCKSoft",
}  # fmt: skip


def _rlimits(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    table = read_limits(evidence.pid)
    for name, (key, field) in _RLIMITS.items():
        wanted = getattr(config.resources, field)
        if wanted is not None:
            yield _rlimit(key, wanted, name, table, evidence)
    if config.resources.lock_memory:
        report = _rlimit("resources.lock_memory", INFINITY, "Max locked memory", table, evidence)
        held = status_fields(evidence.pid).get("CapEff") if evidence.pid else None
        if held is not None and int(held, 16) & capability_mask(("IPC_LOCK",)):
            report = _report("resources.lock_memory", "unlimited", "CAP_IPC_LOCK", Found.HONOURED, "CapEff of the process: it goes beyond every limit")
        yield report


def _rlimit(key: str, wanted: int, name: str, table: dict[str, int], evidence: Evidence) -> SettingReport:
    found = table.get(name)
    if found is None:
        told = evidence.properties.get(_PROPERTIES[name])
        return _same(key, wanted, told, f"{_PROPERTIES[name]}= of the unit; its process cannot be seen from here")
    outcome = Found.HONOURED if found == wanted else Found.APPROXIMATED
    why = f'"{name}" in /proc/{evidence.pid}/limits'
    return _report(key, wanted, found, outcome, why if found == wanted else f"{why}: as much as the hard limit there allows")


def read_limits(pid: int) -> dict[str, int]:
    """The soft limits in /proc/<pid>/limits (proc(5)); empty where it cannot be read."""
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            rows = file.read().splitlines()[1:]
    except OSError:
        return {}
    found: dict[str, int] = {}
    for row in rows:
        name, words = row[:25].strip(), row[25:].split()
        if words:
            found[name] = INFINITY if words[0] == "unlimited" else int(words[0])
    return found


def _lifecycle(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    told = evidence.properties
    if config.description:
        found = told.get("Description")
        outcome = Found.HONOURED if found == config.description else Found.APPROXIMATED
        yield _report("description", config.description, found, outcome, "Description= of the unit: one line")
    yield _same("shutdown_timeout", microseconds(config.shutdown_timeout), told.get("TimeoutStopUSec"), "TimeoutStopUSec= in microseconds")
    if readiness_of(config) is ReadinessKind.NOTIFY:
        yield _same("readiness.kind", "notify", told.get("Type"), "Type= of the unit")
        wanted, found = microseconds(config.readiness.timeout), told.get("TimeoutStartUSec")
        outcome = Found.HONOURED if found == wanted else Found.APPROXIMATED
        yield _report(
            "readiness.timeout", wanted, found, outcome, "TimeoutStartUSec= in microseconds; the manager's own deadline comes first"
        )
    if config.health_check.watchdog > 0:
        wanted = microseconds(config.health_check.watchdog)
        yield _same("health_check.watchdog", wanted, told.get("WatchdogUSec"), "WatchdogUSec= in microseconds")


def _restart(config: DaemonConfig, evidence: Evidence, facts: Facts) -> Iterator[SettingReport]:
    restart, told = config.restart, evidence.properties
    if not restart.delegate or restart.policy is RestartPolicy.NEVER:
        return
    yield _same("restart.delegate", RESTARTS[restart.policy], told.get("Restart"), "Restart= of the unit")
    yield _same("restart.initial_delay", microseconds(restart.initial_delay), told.get("RestartUSec"), "RestartUSec= in microseconds")
    if restart.max_retries < UNLIMITED:
        burst = told.get("StartLimitBurst")
        yield _report(
            "restart.max_retries",
            restart.max_retries,
            burst,
            Found.APPROXIMATED if burst == restart.max_retries + 1 else Found.IGNORED,
            "StartLimitBurst=: counts the first start too, in windows that follow each other",
        )
    if grows(config):
        steps, largest = told.get("RestartSteps"), told.get("RestartMaxDelayUSec")
        right = (
            steps == restart_steps(restart.initial_delay, restart.multiplier, restart.max_delay)
            and largest == microseconds(restart.max_delay)
        )
        why = "RestartSteps= of the unit: never reset by a stable run" if steps is not None else f"systemd {facts.version} has no RestartSteps="
        yield _report("restart.multiplier", restart.multiplier, "" if steps is None else steps, Found.APPROXIMATED if right else Found.IGNORED, why)
    if restart.jitter:
        yield _report("restart.jitter", restart.jitter, "", Found.IGNORED, "systemd spreads no delay")


def _identity(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    told, fields = evidence.properties, status_fields(evidence.pid) if evidence.pid else {}
    for key, wanted, prop in (("user", config.user, "User"), ("group", config.group, "Group")):
        if wanted is not None:
            yield _same(key, wanted, told.get(prop), f"{prop}= of the unit, without which systemd starts nothing")
    groups = config.security.supplementary_groups
    if groups:
        yield _same("security.supplementary_groups", list(groups), told.get("SupplementaryGroups"), "SupplementaryGroups= of the unit")
    if config.working_dir is not None:
        yield _working_dir(config.working_dir, evidence)
    nice = config.resources.nice
    if nice is not None:
        found: object = told.get("Nice")
        where = "Nice= of the unit"
        if evidence.pid:
            try:
                found, where = os.getpriority(os.PRIO_PROCESS, evidence.pid), "getpriority(2)"
            except OSError:
                pass  # it has just ended: the property remains
        yield _same("resources.nice", nice, found, where)
    umask = config.security.umask
    if umask is not None:
        if "Umask" in fields:
            yield _same("security.umask", f"{umask:04o}", fields["Umask"], f"/proc/{evidence.pid}/status")
        else:
            yield _same("security.umask", umask, told.get("UMask"), "UMask= of the unit")


def _working_dir(wanted: str, evidence: Evidence) -> SettingReport:
    told = evidence.properties.get("WorkingDirectory")
    try:
        where = os.readlink(f"/proc/{evidence.pid}/cwd") if evidence.pid else ""
    except OSError:
        where = ""
    if not where:
        return _same("working_dir", wanted, told, "WorkingDirectory= of the unit")
    # A daemon may go elsewhere by itself, so another folder is no proof that it was not started in this one.
    outcome = Found.HONOURED if where in (wanted, os.path.realpath(wanted)) else Found.APPROXIMATED
    return _report("working_dir", wanted, where, outcome, f"/proc/{evidence.pid}/cwd")


def _security(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    security, told = config.security, evidence.properties
    fields = status_fields(evidence.pid) if evidence.pid else {}
    if security.no_new_privileges:
        if "NoNewPrivs" in fields:
            yield _same("security.no_new_privileges", "1", fields["NoNewPrivs"], f"/proc/{evidence.pid}/status")
        else:
            yield _same("security.no_new_privileges", True, told.get("NoNewPrivileges"), "NoNewPrivileges= of the unit")
    if security.read_only_root:
        yield _mounted("security.read_only_root", "strict", told.get("ProtectSystem"), "ProtectSystem", "/", evidence, wants_read_only=True)
        for path in security.writable_paths:
            paths = told.get("ReadWritePaths") or []
            yield _report(
                "security.writable_paths", path, paths, Found.HONOURED if path in paths else Found.IGNORED, "ReadWritePaths= of the unit"
            )
    if security.private_tmp:
        yield _mounted("security.private_tmp", True, told.get("PrivateTmp"), "PrivateTmp", "/tmp", evidence)  # noqa: S108
    bounds = bounding_set(config)
    if bounds is not None:
        yield _capabilities("security.drop_capabilities", bounds, "CapBnd", "CapabilityBoundingSet", evidence, fields, at_most=True)
    given = given_capabilities(config)
    if security.add_capabilities:
        yield _capabilities(
            "security.add_capabilities", capability_mask(given), "CapEff", "AmbientCapabilities", evidence, fields, at_most=False
        )


def _mounted(
    key: str, wanted: object, told: object, prop: str, point: str, evidence: Evidence, *, wants_read_only: bool = False
) -> SettingReport:
    """A setting that needs a mount namespace: systemd leaves it out in silence where it may not make one, so the mounts are looked at."""
    if told != wanted:
        return _report(key, wanted, told, Found.IGNORED, f"{prop}= of the unit")
    options = mount_options(evidence.pid)
    if not options:
        return _report(key, wanted, told, Found.HONOURED, f"{prop}= of the unit; its mounts cannot be seen from here")
    right = point in options and (not wants_read_only or "ro" in options[point].split(","))
    return _report(
        key, wanted, f"{point} {options.get(point, 'not mounted')}", Found.HONOURED if right else Found.IGNORED, f"/proc/{evidence.pid}/mountinfo"
    )


def mount_options(pid: int) -> dict[str, str]:
    """Mount point -> options, as the process sees them (proc(5), mountinfo); the last mount on a point counts."""
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return {}
    return {row[4]: row[5] for row in rows if len(row) > 5}


def _capabilities(
    key: str, wanted: int, field: str, prop: str, evidence: Evidence, fields: dict[str, str], *, at_most: bool
) -> SettingReport:
    if field in fields:
        found, where = int(fields[field], 16), f"{field} in /proc/{evidence.pid}/status"
    else:
        told = evidence.properties.get(prop)
        found, where = told if isinstance(told, int) else 0, f"{prop}= of the unit"
    # The kernel cannot give what systemd itself has not: less than wanted is no breach of a limit, and more is.
    right = not found & ~wanted if at_most else found & wanted == wanted
    return _report(key, f"{wanted:#x}", f"{found:#x}", Found.HONOURED if right else Found.APPROXIMATED if not at_most and found & wanted else Found.IGNORED, where)


def _output(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    logging = config.logging
    found = str(plain(evidence.properties.get("StandardOutput", "")))
    if logging.destination is LogDestination.NULL:
        yield _same("logging.destination", "null", found, "StandardOutput= of the unit")
    elif logging.destination is LogDestination.FILE and logging.path is not None:
        wanted = f"append:{logging.path}"
        yield _report(
            "logging.path", wanted, found, Found.HONOURED if found in (wanted, "append") else Found.IGNORED, "StandardOutput= of the unit"
        )
    elif logging.destination is LogDestination.FILE:
        yield _same("logging.destination", "journal", found, "StandardOutput= of the unit")
