"""What the guest made of a configuration: read back from its control group, its process and its kernel, never from what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from duende.adapters.contract import Found, SettingReport
from duende.adapters.pepita import parse
from duende.adapters.pepita.ignored import asked, ignored
from duende.adapters.pepita.render import CPU_PERIOD, shares_to_weight
from duende.adapters.pepita.settings import memory_of, settings_of, vcpus_of
from duende.config.model import DaemonConfig

PAGE = 4096
"""Bytes: the kernel rounds limits of memory down to whole pages."""
_LIMITS = {
    "resources.open_files_max": "Max open files",
    "resources.core_bytes": "Max core file size",
    "resources.stack_bytes": "Max stack size",
    "resources.address_space_bytes": "Max address space",
}


def explain(config: DaemonConfig, info: dict[str, Any]) -> list[SettingReport]:
    """Every setting beside what was found: *info* is the answer of `pepita info`."""
    used = parse.sections(str(info.get("used", "")))
    guest = dict(line.split(None, 1) for line in str(info.get("guest", "")).splitlines()[1:] if " " in line)
    found = [
        *_group(config, used, info),
        *_process(config, str(info.get("limits", ""))),
        *_machine(config, info, guest),
    ]
    found += _told(config)
    for key, value, why in ignored(config):
        section = key.partition(".")[0]
        if section == "resources" or asked(config, key):
            found.append(SettingReport(key=key, wanted=str(value), found="", outcome=Found.IGNORED, why=why))
    return found


def _report(key: str, wanted: object, seen: str, why: str) -> SettingReport:
    outcome = Found.HONOURED if seen == str(wanted) else Found.APPROXIMATED
    return SettingReport(key=key, wanted=str(wanted), found=seen, outcome=outcome, why=why)


def _group(config: DaemonConfig, used: dict[str, str], info: dict[str, Any]) -> Iterator[SettingReport]:
    resources = config.resources
    where = "of its control group in the guest"
    memory = used.get("memory.max", "")
    if memory == "max":
        yield SettingReport(
            key="resources.memory_bytes",
            wanted=str(resources.memory_bytes),
            found=str(int(info["memory_mb"]) << 20),
            outcome=Found.APPROXIMATED,
            why="the memory of the VM, which is less",
        )
    else:
        wanted = resources.memory_bytes // PAGE * PAGE
        report = _report("resources.memory_bytes", wanted, memory, f"memory.max {where}")
        yield report
    swap = max(0, resources.memory_swap_bytes - resources.memory_bytes) // PAGE * PAGE
    seen = used.get("memory.swap.max", "")
    yield _report(
        "resources.memory_swap_bytes", swap, seen, f"memory.swap.max {where}: swap alone; the guest has none"
    )
    quota = f"{round(resources.cpu_quota_percent * CPU_PERIOD / 100)} {CPU_PERIOD}"
    yield _report(
        "resources.cpu_quota_percent", quota, used.get("cpu.max", ""), f"cpu.max {where}: quota and period"
    )
    weight = shares_to_weight(resources.cpu_shares)
    yield SettingReport(
        key="resources.cpu_shares",
        wanted=str(resources.cpu_shares),
        found=used.get("cpu.weight", ""),
        outcome=Found.APPROXIMATED,
        why=f"cpu.weight {where}, {weight} for these shares; against other VMs it weighs nothing",
    )
    yield _report("resources.pids_max", resources.pids_max, used.get("pids.max", ""), f"pids.max {where}")


def _process(config: DaemonConfig, limits: str) -> Iterator[SettingReport]:
    for key, title in _LIMITS.items():
        wanted = getattr(config.resources, key.partition(".")[2])
        line = next((each for each in limits.splitlines() if each.startswith(title)), "")
        words = line[len(title) :].split()
        if wanted is not None:
            yield _report(
                key, wanted, words[0] if words else "", f"{title!r} in /proc/PID/limits of the guest"
            )


def _machine(config: DaemonConfig, info: dict[str, Any], guest: dict[str, str]) -> Iterator[SettingReport]:
    settings = settings_of(config)
    wanted = vcpus_of(config, settings)
    yield _report(
        "platform.pepita.vcpus", wanted, guest.get("cpus", ""), "processors that are online in the guest"
    )
    yield SettingReport(
        key="platform.pepita.memory_mb",
        wanted=str(memory_of(config, settings)),
        found=str(int(guest.get("memory_kb", "0")) >> 10),
        outcome=Found.HONOURED
        if info.get("memory_mb") == memory_of(config, settings)
        else Found.APPROXIMATED,
        why=f"MemTotal of the guest's kernel in MiB; QEMU gave it {info.get('memory_mb')}, the rest is the kernel's own",
    )


def _told(config: DaemonConfig) -> Iterator[SettingReport]:
    """What pepita's agent did before it executed the program: it fails there, rather than go on without."""
    for key in ("user", "group", "working_dir"):
        value = getattr(config, key)
        if value is not None:
            yield SettingReport(
                key=key,
                wanted=value,
                found=value,
                outcome=Found.HONOURED,
                why="the guest's agent starts nothing without it",
            )
    if config.security.private_tmp:
        yield SettingReport(
            key="security.private_tmp",
            wanted="True",
            found="True",
            outcome=Found.HONOURED,
            why="each guest has a /tmp of its own",
        )
