"""Profiles of system calls as container runtimes take them: the `seccomp` of the OCI runtime specification (config-linux.md), which Docker's and
Podman's own files are written in too. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from duende.config.model import SecurityConfig
from duende.kernel.seccomp import EPERM
from duende.policy.security.profiles import calls_of

ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")
"""Of both machines that profiles are for: a runtime takes that of its own, and leaves the other out."""
AF_UNIX = 1
"""<linux/socket.h>"""


def profile(security: SecurityConfig, architecture: str) -> dict[str, Any]:
    """The profile for *architecture* (one of `ARCHITECTURES`): what is not in it is forbidden.

    Raises:
        PlatformConfigError: a call is not known.
    """
    calls = calls_of(security)
    allowed = calls.allowed or frozenset()
    forbidden = "SCMP_ACT_ERRNO" if calls.errno else "SCMP_ACT_KILL_PROCESS"
    plain = sorted(allowed - {"socket"} if calls.unix_only else allowed)
    rules: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    if calls.shut:
        rules.append({"names": sorted(calls.shut), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM})
    if calls.unix_only and "socket" in allowed:
        for operator, action in (("SCMP_CMP_EQ", "SCMP_ACT_ALLOW"), ("SCMP_CMP_NE", "SCMP_ACT_ERRNO")):
            rules.append(
                {
                    "names": ["socket"],
                    "action": action,
                    "args": [{"index": 0, "value": AF_UNIX, "op": operator}],
                    **({"errnoRet": EPERM} if action == "SCMP_ACT_ERRNO" else {}),
                }
            )
    found: dict[str, Any] = {"defaultAction": forbidden, "architectures": [architecture], "syscalls": rules}
    if calls.errno:
        found["defaultErrnoRet"] = EPERM
    return found


def profile_text(security: SecurityConfig, machine: str) -> str:
    """The profile as JSON, for a *machine* as uname(1) names it; the same setting gives the same text.

    Raises:
        PlatformConfigError: as for `profile`.
    """
    architecture = {"x86_64": ARCHITECTURES[0], "aarch64": ARCHITECTURES[1], "arm64": ARCHITECTURES[1]}
    found = profile(security, architecture.get(machine, ARCHITECTURES[0]))
    return msgspec.json.encode(found).decode()
