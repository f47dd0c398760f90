"""Profiles of system calls, and what becomes of `[security]` for the process that is to be confined: pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from duende.config.capabilities import CAPABILITIES
from duende.config.model import SecurityConfig
from duende.errors import PlatformConfigError
from duende.kernel import seccomp
from duende.kernel.syscalls import ARM64, KNOWN, X86_64
from duende.policy.security.groups import GROUPS

TABLES: Mapping[str, Mapping[str, int]] = {"x86_64": X86_64, "aarch64": ARM64}
_NEVER = frozenset(
    (
        "process_vm_readv",
        "process_vm_writev",
        "kcmp",
        "setns",
        "unshare",
        "userfaultfd",
        "ptrace",
        "open_by_handle_at",
        "personality",
    )
)
"""In the groups, and for none of those that run under a profile: others' memory and namespaces, and what exploits are made of."""
_COMPUTE = (
    GROUPS["default"] | GROUPS["basic_io"] | GROUPS["file_system"] | GROUPS["io_event"] | GROUPS["signal"] | GROUPS["sync"]
    | GROUPS["timer"] | GROUPS["memlock"] | GROUPS["general"] | GROUPS["network_io"] | GROUPS["ipc"]
    | {"clone", "clone3", "execveat", "kill", "tgkill", "wait4", "waitid", "prctl", "pidfd_open", "pidfd_send_signal", "getrusage", "times"}
)  # fmt: skip
_SERVICE = (
    _COMPUTE | GROUPS["process"] | GROUPS["chown"] | GROUPS["resources"] | GROUPS["setuid"] | GROUPS["aio"]
)
PROFILES: dict[str, tuple[frozenset[str], bool]] = {
    "compute": (frozenset(_COMPUTE - _NEVER), False),
    "service": (frozenset(_SERVICE - _NEVER), False),
    "network-service": (frozenset(_SERVICE - _NEVER), True),
}
"""Name -> (allowed calls, whether sockets of other families than AF_UNIX are). `compute` computes, reads and writes files; `service` starts
processes and changes users as well; `network-service` talks to the network. None may trace, mount, load modules, reboot, set the clock or read
another's memory."""
AROUND_NETWORK = ("io_uring_setup", "io_uring_enter", "io_uring_register")
"""Ways to a socket that no filter sees: shut wherever the network is."""
SYSTEM_PATHS = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime",
    "/dev/urandom", "/dev/random", "/proc/self",
)  # fmt: skip
"""What programs need to start at all; readable wherever files are confined."""
SYSTEM_WRITABLE = ("/dev/null", "/dev/zero", "/dev/full")


def kept_capabilities(security: SecurityConfig) -> int:
    """The bits of the capabilities that a daemon may have."""
    everything = (1 << len(CAPABILITIES)) - 1
    if "ALL" in security.drop_capabilities:
        kept = 0
    else:
        kept = everything & ~sum(1 << CAPABILITIES.index(name) for name in set(security.drop_capabilities))
    for name in security.add_capabilities:
        kept |= 1 << CAPABILITIES.index(name)
    return kept


def dropped_capabilities(security: SecurityConfig) -> int:
    """The bits of those it may not have."""
    return ((1 << len(CAPABILITIES)) - 1) & ~kept_capabilities(security)


class Calls(NamedTuple):
    """What of system calls is left to a daemon, by their names: for whoever filters, in its own terms."""

    allowed: frozenset[str] | None
    """Nothing else is; None is all."""
    denied: frozenset[str]
    """Not these, whatever else is said."""
    shut: frozenset[str]
    """These fail with EPERM: programs try them, and do without."""
    unix_only: bool
    """socket(2) is for AF_UNIX only."""
    errno: bool
    """What is forbidden fails with EPERM, and does not end the daemon."""


def calls_of(security: SecurityConfig) -> Calls:
    """The calls that *security* leaves.

    Raises:
        PlatformConfigError: a call is not known.
    """
    for key in ("seccomp_allow", "seccomp_deny"):
        for name in getattr(security, key):
            if name not in KNOWN:
                from difflib import get_close_matches

                near = get_close_matches(name, KNOWN, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "see syscalls(2)"
                raise PlatformConfigError(f"security.{key}: there is no system call {name!r}", remedy=hint)
    names, network = PROFILES[security.seccomp] if security.seccomp is not None else (None, True)
    network = network and security.network
    denied, shut = frozenset(security.seccomp_deny), frozenset(() if network else AROUND_NETWORK)
    return Calls(
        allowed=None if names is None else (names | frozenset(security.seccomp_allow)) - denied - shut,
        denied=denied,
        shut=shut - denied,
        unix_only=not network,
        errno=security.seccomp_action == "errno",
    )


def filter_of(security: SecurityConfig, machine: str, *, noting: bool = False) -> bytes:
    """The seccomp filter, empty where nothing is filtered. With *noting* what is forbidden is told to a listener, and nobody is ended.

    Raises:
        PlatformConfigError: a call is not known, or the machine has no table here.
    """
    if not security.filters_calls:
        return b""
    table = TABLES.get(machine)
    if table is None:
        raise PlatformConfigError(
            f"cannot filter system calls on {machine}: only {', '.join(TABLES)} are known",
            remedy="leave security.seccomp out",
        )
    calls = calls_of(security)
    numbers = {table[name] for name in (table if calls.allowed is None else calls.allowed) if name in table}
    denied = {table[name] for name in calls.denied if name in table}
    shut = {table[name] for name in calls.shut if name in table}
    fail = seccomp.SECCOMP_RET_ERRNO | seccomp.EPERM
    code = seccomp.program(
        numbers - denied - shut,
        machine=machine,
        otherwise=seccomp.SECCOMP_RET_USER_NOTIF
        if noting
        else fail
        if calls.errno
        else seccomp.SECCOMP_RET_KILL_PROCESS,
        refused=shut - denied,
        unix_only=table["socket"] if calls.unix_only else None,
        refusal=seccomp.SECCOMP_RET_USER_NOTIF if noting else fail,
    )
    return seccomp.pack(code)


def confinement(
    security: SecurityConfig, more: tuple[str, ...] = (), writable: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What the child applies to itself before it executes: plain values, as they travel to the warden. *more* paths are readable too.

    Raises:
        PlatformConfigError: as for `filter_of`.
    """
    found: dict[str, Any] = {}
    if security.readable_paths:
        found["readable"] = [*SYSTEM_PATHS, *more, *security.readable_paths]
        found["writable"] = [*SYSTEM_WRITABLE, *writable, *security.writable_paths]
    if security.drop_capabilities:
        found["capabilities"] = kept_capabilities(security)
    packed = filter_of(security, os.uname().machine)
    if packed:
        found["filter"] = packed
    return found
