"""What systemd and the kernel made of a configuration: properties read back, and the files of the control group and of /proc where they can be seen.

A property says what systemd was told and understood; whether it took effect the kernel says. Where both can be read, the kernel's word counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from duende.adapters.contract import Found, SettingReport
from duende.adapters.native.ignored import asked, value_of
from duende.adapters.systemd import cgroup
from duende.adapters.systemd.evidence import Evidence, identity, report, rlimits, same, security_of
from duende.adapters.systemd.facts import Facts
from duende.adapters.systemd.ignored import grows, ignored
from duende.adapters.systemd.parse import plain
from duende.adapters.systemd.render import (
    INFINITY,
    RESTARTS,
    microseconds,
    restart_steps,
    weight_of,
)
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.restart import UNLIMITED

HUGE = 2**63 - 4096 * 4
"""What cgroup v1 shows for no limit is a little below 2**63, rounded to pages."""


def explain(config: DaemonConfig, evidence: Evidence, facts: Facts) -> list[SettingReport]:
    """Every setting beside what was read back."""
    without = dict(ignored(config, facts))
    reports = [
        *_resources(config, evidence, facts),
        *rlimits(config, evidence),
        *_lifecycle(config, evidence),
        *_restart(config, evidence, facts),
        *identity(config, evidence),
        *security_of(config, evidence),
        *_output(config, evidence),
    ]
    done: list[SettingReport] = []
    for one in reports:
        why = without.pop(one.key, None)
        if why is not None:
            # The property says what systemd was told; without the controller or the namespace it did nothing.
            done.append(msgspec.structs.replace(one, outcome=Found.IGNORED, why=why))
        else:
            done.append(one)
    seen = {one.key for one in done}
    for key, why in without.items():
        if key not in seen and (
            asked(config, key) or (key.startswith("resources.") and value_of(config, key))
        ):
            done.append(report(key, value_of(config, key), "", Found.IGNORED, why))
    return done


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
    key: str,
    wanted: int,
    prop: str,
    file: _File,
    evidence: Evidence,
    facts: Facts,
    read: Callable[[str | None], int | None] = _number,
) -> SettingReport:
    name, text = file.read(evidence, facts)
    found = read(text)
    if found is not None:
        outcome = (
            Found.HONOURED if found == wanted else Found.IGNORED if found >= HUGE else Found.APPROXIMATED
        )
        # The kernel rounds sizes to pages.
        if outcome is Found.APPROXIMATED and wanted - found < 4096 and found <= wanted:
            outcome = Found.HONOURED
        return report(key, wanted, found, outcome, f"{name} of {evidence.group}")
    told = evidence.properties.get(prop)
    if told == wanted:
        return report(
            key,
            wanted,
            told,
            Found.HONOURED,
            f"{prop}= of the unit; its control group cannot be seen from here",
        )
    return report(key, wanted, "" if told is None else told, Found.IGNORED, f"{prop}= of the unit")


def _resources(config: DaemonConfig, evidence: Evidence, facts: Facts) -> Iterator[SettingReport]:
    resources = config.resources
    if resources.memory_bytes:
        memory = _File("memory.max", "memory", "memory.limit_in_bytes")
        yield _limited("resources.memory_bytes", resources.memory_bytes, "MemoryMax", memory, evidence, facts)
        if resources.memory_swap_bytes and facts.unified:
            swap = max(0, resources.memory_swap_bytes - resources.memory_bytes)
            swap_report = _limited(
                "resources.memory_swap_bytes",
                swap,
                "MemorySwapMax",
                _File("memory.swap.max", "", ""),
                evidence,
                facts,
            )
            yield msgspec.structs.replace(swap_report, why=f"{swap_report.why}; swap alone, memory apart")
    yield _limited(
        "resources.pids_max",
        resources.pids_max,
        "TasksMax",
        _File("pids.max", "pids", "pids.max"),
        evidence,
        facts,
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
            return report(key, wanted, "unlimited", Found.IGNORED, f"{name} of {evidence.group}")
        percent = 100.0 * int(pair[0]) / int(pair[1])
        near = Found.HONOURED if abs(percent - wanted) <= wanted * 0.01 + 0.01 else Found.APPROXIMATED
        return report(key, wanted, f"{percent:g}", near, f"{name} of {evidence.group}")
    told = evidence.properties.get("CPUQuotaPerSecUSec")
    return same(key, max(1, round(wanted * 10_000)), told, "CPUQuotaPerSecUSec= of the unit, in microseconds")


def _shares(config: DaemonConfig, evidence: Evidence, facts: Facts) -> SettingReport:
    key, wanted = "resources.cpu_shares", config.resources.cpu_shares
    if not facts.unified:
        return _limited(key, wanted, "CPUShares", _File("", "cpu", "cpu.shares"), evidence, facts)
    weight = weight_of(wanted)
    name, text = _File("cpu.weight", "", "").read(evidence, facts)
    found = _number(text) if text is not None else evidence.properties.get("CPUWeight")
    where = f"{name} of {evidence.group}" if text is not None else "CPUWeight= of the unit"
    if found != weight:
        return report(key, wanted, found, Found.IGNORED, where)
    exact = weight * 1024 == wanted * 100
    return report(
        key,
        wanted,
        found,
        Found.HONOURED if exact else Found.APPROXIMATED,
        f"{where}: a weight, of which 100 are 1024 shares",
    )


def _bandwidth(key: str, wanted: int, prop: str, evidence: Evidence, facts: Facts) -> SettingReport:
    told = [[str(path), int(rate)] for path, rate in evidence.properties.get(prop) or []]
    right = [path for path, rate in told if rate == wanted]
    if set(right) != set(facts.disks) or not right:
        return report(key, wanted, told, Found.IGNORED, f"{prop}= of the unit")
    if len(right) > 1:
        return report(
            key,
            wanted,
            wanted,
            Found.APPROXIMATED,
            f"{prop}= of the unit: on each of {len(right)} disks, not on all together",
        )
    return report(key, wanted, wanted, Found.HONOURED, f"{prop}= of the unit")


def _lifecycle(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    told = evidence.properties
    if config.description:
        found = told.get("Description")
        outcome = Found.HONOURED if found == config.description else Found.APPROXIMATED
        yield report("description", config.description, found, outcome, "Description= of the unit: one line")
    yield same(
        "shutdown_timeout",
        microseconds(config.shutdown_timeout),
        told.get("TimeoutStopUSec"),
        "TimeoutStopUSec= in microseconds",
    )
    if readiness_of(config) is ReadinessKind.NOTIFY:
        yield same("readiness.kind", "notify", told.get("Type"), "Type= of the unit")
        wanted, found = microseconds(config.readiness.timeout), told.get("TimeoutStartUSec")
        outcome = Found.HONOURED if found == wanted else Found.APPROXIMATED
        yield report(
            "readiness.timeout",
            wanted,
            found,
            outcome,
            "TimeoutStartUSec= in microseconds; the manager's own deadline comes first",
        )
    if config.health_check.watchdog > 0:
        wanted = microseconds(config.health_check.watchdog)
        yield same("health_check.watchdog", wanted, told.get("WatchdogUSec"), "WatchdogUSec= in microseconds")


def _restart(config: DaemonConfig, evidence: Evidence, facts: Facts) -> Iterator[SettingReport]:
    restart, told = config.restart, evidence.properties
    if not restart.delegate or restart.policy is RestartPolicy.NEVER:
        return
    yield same("restart.delegate", RESTARTS[restart.policy], told.get("Restart"), "Restart= of the unit")
    yield same(
        "restart.initial_delay",
        microseconds(restart.initial_delay),
        told.get("RestartUSec"),
        "RestartUSec= in microseconds",
    )
    if restart.max_retries < UNLIMITED:
        burst = told.get("StartLimitBurst")
        yield report(
            "restart.max_retries",
            restart.max_retries,
            burst,
            Found.APPROXIMATED if burst == restart.max_retries + 1 else Found.IGNORED,
            "StartLimitBurst=: counts the first start too, in windows that follow each other",
        )
    if grows(config):
        steps, largest = told.get("RestartSteps"), told.get("RestartMaxDelayUSec")
        right = steps == restart_steps(
            restart.initial_delay, restart.multiplier, restart.max_delay
        ) and largest == microseconds(restart.max_delay)
        why = (
            "RestartSteps= of the unit: never reset by a stable run"
            if steps is not None
            else f"systemd {facts.version} has no RestartSteps="
        )
        yield report(
            "restart.multiplier",
            restart.multiplier,
            "" if steps is None else steps,
            Found.APPROXIMATED if right else Found.IGNORED,
            why,
        )
    if restart.jitter:
        yield report("restart.jitter", restart.jitter, "", Found.IGNORED, "systemd spreads no delay")


def _output(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    logging = config.logging
    found = str(plain(evidence.properties.get("StandardOutput", "")))
    if logging.destination is LogDestination.NULL:
        yield same("logging.destination", "null", found, "StandardOutput= of the unit")
    elif logging.destination is LogDestination.FILE and logging.path is not None:
        wanted = f"append:{logging.path}"
        yield report(
            "logging.path",
            wanted,
            found,
            Found.HONOURED if found in (wanted, "append") else Found.IGNORED,
            "StandardOutput= of the unit",
        )
    elif logging.destination is LogDestination.FILE:
        yield same("logging.destination", "journal", found, "StandardOutput= of the unit")
