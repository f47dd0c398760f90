"""What was read back of a running unit, and how it is put beside what was wanted; the kernel's word about the process itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from duende.adapters.contract import Found, SettingReport
from duende.adapters.systemd.confining import confined
from duende.adapters.systemd.render import INFINITY, bounding_set, capability_mask, given_capabilities
from duende.config.model import DaemonConfig
from duende.kernel.mounts import options_of
from duende.kernel.process import status_fields
from duende.kernel.rlimits import soft_limits


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was read back of a running unit."""

    properties: dict[str, Any]
    """Of the interfaces Service and Unit, without Variants."""
    pid: int = 0
    """Its main process as seen from here, 0 where it cannot be seen."""
    group: str = ""
    """ControlGroup."""


def report(key: str, wanted: object, found: object, outcome: Found, why: str) -> SettingReport:
    """One line of the report; values as text."""
    return SettingReport(key=key, wanted=text_of(wanted), found=text_of(found), outcome=outcome, why=why)


def text_of(value: object) -> str:
    """A value as people read it."""
    if value == INFINITY:
        return "unlimited"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value)


def same(key: str, wanted: object, found: object, why: str) -> SettingReport:
    """Honoured when found as wanted, ignored otherwise."""
    return report(key, wanted, found, Found.HONOURED if wanted == found else Found.IGNORED, why)


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


def rlimits(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    """The limits of setrlimit(2)."""
    table = soft_limits(evidence.pid)
    for name, (key, field) in _RLIMITS.items():
        wanted = getattr(config.resources, field)
        if wanted is not None:
            yield _rlimit(key, wanted, name, table, evidence)
    if config.resources.lock_memory:
        one = _rlimit("resources.lock_memory", INFINITY, "Max locked memory", table, evidence)
        held = status_fields(evidence.pid).get("CapEff") if evidence.pid else None
        if held is not None and int(held, 16) & capability_mask(("IPC_LOCK",)):
            one = report(
                "resources.lock_memory",
                "unlimited",
                "CAP_IPC_LOCK",
                Found.HONOURED,
                "CapEff of the process: it goes beyond every limit",
            )
        yield one


def _rlimit(key: str, wanted: int, name: str, table: dict[str, int], evidence: Evidence) -> SettingReport:
    found = table.get(name)
    if found is None:
        told = evidence.properties.get(_PROPERTIES[name])
        return same(
            key, wanted, told, f"{_PROPERTIES[name]}= of the unit; its process cannot be seen from here"
        )
    outcome = Found.HONOURED if found == wanted else Found.APPROXIMATED
    why = f'"{name}" in /proc/{evidence.pid}/limits'
    return report(
        key,
        wanted,
        found,
        outcome,
        why if found == wanted else f"{why}: as much as the hard limit there allows",
    )


def identity(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    """User, groups, folder, niceness and umask."""
    told, fields = evidence.properties, status_fields(evidence.pid) if evidence.pid else {}
    for key, wanted, prop in (("user", config.user, "User"), ("group", config.group, "Group")):
        if wanted is not None:
            yield same(
                key, wanted, told.get(prop), f"{prop}= of the unit, without which systemd starts nothing"
            )
    groups = config.security.supplementary_groups
    if groups:
        yield same(
            "security.supplementary_groups",
            list(groups),
            told.get("SupplementaryGroups"),
            "SupplementaryGroups= of the unit",
        )
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
        yield same("resources.nice", nice, found, where)
    umask = config.security.umask
    if umask is not None:
        if "Umask" in fields:
            yield same("security.umask", f"{umask:04o}", fields["Umask"], f"/proc/{evidence.pid}/status")
        else:
            yield same("security.umask", umask, told.get("UMask"), "UMask= of the unit")


def _working_dir(wanted: str, evidence: Evidence) -> SettingReport:
    told = evidence.properties.get("WorkingDirectory")
    try:
        where = os.readlink(f"/proc/{evidence.pid}/cwd") if evidence.pid else ""
    except OSError:
        where = ""
    if not where:
        return same("working_dir", wanted, told, "WorkingDirectory= of the unit")
    # A daemon may go elsewhere by itself, so another folder is no proof that it was not started in this one.
    outcome = Found.HONOURED if where in (wanted, os.path.realpath(wanted)) else Found.APPROXIMATED
    return report("working_dir", wanted, where, outcome, f"/proc/{evidence.pid}/cwd")


def security_of(config: DaemonConfig, evidence: Evidence) -> Iterator[SettingReport]:
    """What `[security]` asks for."""
    security, told = config.security, evidence.properties
    fields = status_fields(evidence.pid) if evidence.pid else {}
    if security.no_new_privileges:
        if "NoNewPrivs" in fields:
            yield same(
                "security.no_new_privileges", "1", fields["NoNewPrivs"], f"/proc/{evidence.pid}/status"
            )
        else:
            yield same(
                "security.no_new_privileges",
                True,
                told.get("NoNewPrivileges"),
                "NoNewPrivileges= of the unit",
            )
    if security.read_only_root:
        yield _mounted(
            "security.read_only_root",
            "strict",
            told.get("ProtectSystem"),
            "ProtectSystem",
            "/",
            evidence,
            wants_read_only=True,
        )
        for path in security.writable_paths:
            paths = told.get("ReadWritePaths") or []
            yield report(
                "security.writable_paths",
                path,
                paths,
                Found.HONOURED if path in paths else Found.IGNORED,
                "ReadWritePaths= of the unit",
            )
    if security.private_tmp:
        yield _mounted("security.private_tmp", True, told.get("PrivateTmp"), "PrivateTmp", "/tmp", evidence)  # noqa: S108
    yield from confined(config, told, fields)
    bounds = bounding_set(config)
    if bounds is not None:
        yield _capabilities(
            "security.drop_capabilities",
            bounds,
            "CapBnd",
            "CapabilityBoundingSet",
            evidence,
            fields,
            at_most=True,
        )
    given = given_capabilities(config)
    if security.add_capabilities:
        yield _capabilities(
            "security.add_capabilities",
            capability_mask(given),
            "CapEff",
            "AmbientCapabilities",
            evidence,
            fields,
            at_most=False,
        )


def _mounted(
    key: str,
    wanted: object,
    told: object,
    prop: str,
    point: str,
    evidence: Evidence,
    *,
    wants_read_only: bool = False,
) -> SettingReport:
    """A setting that needs a mount namespace: systemd leaves it out in silence where it may not make one, so the mounts are looked at."""
    if told != wanted:
        return report(key, wanted, told, Found.IGNORED, f"{prop}= of the unit")
    options = options_of(evidence.pid)
    if not options:
        return report(
            key, wanted, told, Found.HONOURED, f"{prop}= of the unit; its mounts cannot be seen from here"
        )
    right = point in options and (not wants_read_only or "ro" in options[point].split(","))
    return report(
        key,
        wanted,
        f"{point} {options.get(point, 'not mounted')}",
        Found.HONOURED if right else Found.IGNORED,
        f"/proc/{evidence.pid}/mountinfo",
    )


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
    return report(
        key,
        f"{wanted:#x}",
        f"{found:#x}",
        Found.HONOURED if right else Found.APPROXIMATED if not at_most and found & wanted else Found.IGNORED,
        where,
    )
