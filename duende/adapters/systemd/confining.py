"""`[security]` in systemd's terms (systemd.exec(5), Sandboxing and System Call Filtering), and what is read back of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from duende.adapters.contract import Found, SettingReport
from duende.config.model import DaemonConfig

Property = tuple[str, str, Any]
"""Name, D-Bus signature, value."""
LIBSECCOMP = frozenset(("kexec_file_load",))
"""Names that libseccomp knows on some machines only; systemd leaves what it does not know out of a list, and says so in the journal."""


def confining(config: DaemonConfig, *, user: bool) -> list[Property]:
    """The properties for system calls, the network and its namespace; *user* is for a user's systemd, which may make no namespace.

    Raises:
        PlatformConfigError: a system call is not known.
    """
    security = config.security
    found: list[Property] = []
    if security.filters_calls:
        from duende.policy.security.profiles import calls_of

        calls = calls_of(security)
        # A list of what is allowed takes no number of their own for single calls: what is shut is then forbidden like the rest.
        listed = (
            [*sorted(calls.denied), *(f"{name}:EPERM" for name in sorted(calls.shut))]
            if calls.allowed is None
            else sorted(calls.allowed)
        )
        if listed:
            found.append(("SystemCallFilter", "(bas)", [calls.allowed is not None, listed]))
            found.append(("SystemCallArchitectures", "as", ["native"]))
        if calls.errno:
            found.append(("SystemCallErrorNumber", "i", errno.EPERM))
        if calls.unix_only:
            found.append(("RestrictAddressFamilies", "(bas)", [True, ["AF_UNIX"]]))
    if security.network_namespace is not None:
        found.append(("NetworkNamespacePath", "s", security.network_namespace))
    elif not security.network and not user:
        found.append(("PrivateNetwork", "b", True))
    return found


def confined(config: DaemonConfig, told: dict[str, Any], fields: dict[str, str]) -> Iterator[SettingReport]:
    """Each setting beside the unit's properties (*told*) and the process's own status (*fields*), where it can be seen."""
    security = config.security
    if security.filters_calls:
        from duende.kernel.syscalls import KNOWN
        from duende.policy.security.groups import GROUPS
        from duende.policy.security.profiles import calls_of

        calls = calls_of(security)
        filtered = fields.get("Seccomp", "2") == "2"
        where = "SystemCallFilter= of the unit" + (
            "" if "Seccomp" not in fields else ", Seccomp of the process"
        )
        is_list, names = _filter(told.get("SystemCallFilter"))
        if security.seccomp is not None:
            allowed = calls.allowed or frozenset()
            # An allow-list always has systemd's group @default too, and names that other machines' kernels know.
            lost, more = allowed - names, (names - allowed - GROUPS["default"]) & KNOWN
            right = filtered and is_list and not more and not lost - LIBSECCOMP
            yield _report(
                "seccomp",
                security.seccomp,
                f"{len(names)} calls" + (f", without {' '.join(sorted(lost))}" if lost else ""),
                Found.HONOURED
                if right
                else Found.APPROXIMATED
                if filtered and is_list and not more
                else Found.IGNORED,
                where,
            )
        if security.seccomp_deny:
            denied = frozenset(security.seccomp_deny)
            right = filtered and (not denied & names if is_list else denied <= names)
            yield _report(
                "seccomp_deny",
                " ".join(security.seccomp_deny),
                f"{len(names)} calls {'allowed' if is_list else 'denied'}",
                Found.HONOURED if right else Found.IGNORED,
                where,
            )
    if not security.network:
        families = told.get("RestrictAddressFamilies")
        right = _filter(families) == (True, frozenset({"AF_UNIX"})) and fields.get("Seccomp", "2") == "2"
        yield _report(
            "network",
            "off",
            str(families),
            Found.HONOURED if right else Found.IGNORED,
            "RestrictAddressFamilies= of the unit: socket(2) fails with EAFNOSUPPORT, and not with EPERM as natively",
        )
    if security.network_namespace is not None:
        path = told.get("NetworkNamespacePath")
        right = path == security.network_namespace
        yield _report(
            "network_namespace",
            security.network_namespace,
            str(path),
            Found.HONOURED if right else Found.IGNORED,
            "NetworkNamespacePath= of the unit",
        )


def _filter(value: Any) -> tuple[bool, frozenset[str]]:
    """(whether it is an allow-list, its calls without those that fail by a number of their own)."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False, frozenset()
    return bool(value[0]), frozenset(str(name) for name in value[1] if ":" not in str(name))


def _report(key: str, wanted: str, found: str, outcome: Found, why: str) -> SettingReport:
    return SettingReport(key=f"security.{key}", wanted=wanted, found=found, outcome=outcome, why=why)
