"""How exposed a daemon is: one number from 0, nothing to be had by whoever takes it over, to 10, everything that its user could do.

The form is that of `systemd-analyze security`: the weighted mean of how open each door is, times ten. The doors are those that `[security]` and
`[resources]` close, so that the number means the same on every platform; only what was read back as in force counts.

| door | weight | open |
|---|---|---|
| user | 20 | root: 1, anybody else: 0 |
| system calls | 20 | all: 1, all but a list: 0.8, network-service: 0.3, service: 0.2, compute: 0.1 |
| capabilities | 15 | the share that may be had of those that lead to root; 0 for another user with no_new_privileges |
| files | 15 | all: 1, everything read-only but some: 0.5, only what is listed: 0.1 |
| network | 10 | the host's: 1, a namespace of its own: 0.5, none: 0 |
| new privileges | 10 | by set-user-id programs: 1, no_new_privileges: 0 |
| exhaustion | 10 | a third each for memory, processes and CPU time that nothing limits |
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from duende.config.capabilities import CAPABILITIES
from duende.config.model import DaemonConfig
from duende.policy.security.profiles import kept_capabilities

LEAD_TO_ROOT = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "SETGID", "SETUID", "SETPCAP", "NET_ADMIN", "NET_RAW", "SYS_MODULE", "SYS_RAWIO",
    "SYS_CHROOT", "SYS_PTRACE", "SYS_ADMIN", "MKNOD", "SETFCAP", "MAC_ADMIN", "BPF", "PERFMON", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""Capabilities with which a process can become what it likes, or read what it likes (capabilities(7); B. Spengler, "False Boundaries", 2011)."""
WEIGHTS = {
    "user": 20,
    "system calls": 20,
    "capabilities": 15,
    "files": 15,
    "network": 10,
    "new privileges": 10,
    "exhaustion": 10,
}
PROFILES = {"network-service": 0.3, "service": 0.2, "compute": 0.1}
WORDS = ((2.0, "safe"), (4.5, "ok"), (7.0, "medium"), (9.0, "exposed"), (10.0, "unsafe"))
"""Largest exposure -> its word: those of systemd-analyze(1)."""


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """The number and what it is made of."""

    total: float
    doors: dict[str, float]
    """Door -> how open it is, 0 to 1."""

    @property
    def word(self) -> str:
        """The number for people."""
        return next(word for most, word in WORDS if self.total <= most)


def exposure(config: DaemonConfig, in_force: Collection[str]) -> Exposure:
    """The exposure of *config*'s daemon, of which the settings *in_force* (dotted keys) were read back."""
    security = config.security

    def closed(key: str) -> bool:
        return f"security.{key}" in in_force

    nobody = config.user not in (None, "root", "0") and "user" in in_force
    no_new = security.no_new_privileges and closed("no_new_privileges")
    filtered = security.seccomp is not None and closed("seccomp")
    doors = {
        "user": 0.0 if nobody else 1.0,
        "system calls": PROFILES[str(security.seccomp)]
        if filtered
        else 0.8
        if closed("seccomp_deny")
        else 1.0,
        "capabilities": _capabilities(
            config, nobody=nobody, no_new=no_new or filtered, dropped=closed("drop_capabilities")
        ),
        "files": 0.1 if closed("readable_paths") else 0.5 if closed("read_only_root") else 1.0,
        "network": 0.0 if closed("network") else 0.5 if closed("network_namespace") else 1.0,
        "new privileges": 0.0 if no_new or filtered else 1.0,
        "exhaustion": sum(
            f"resources.{key}" not in in_force for key in ("memory_bytes", "pids_max", "cpu_quota_percent")
        )
        / 3,
    }
    total = 10 * sum(WEIGHTS[door] * part for door, part in doors.items()) / sum(WEIGHTS.values())
    return Exposure(total=round(total, 1), doors=doors)


def _capabilities(config: DaemonConfig, *, nobody: bool, no_new: bool, dropped: bool) -> float:
    kept = kept_capabilities(config.security) if dropped else (1 << len(CAPABILITIES)) - 1
    if nobody:
        # Of another user than root it has none of its own, and can get some by set-user-id programs alone.
        kept = (
            sum(1 << CAPABILITIES.index(name) for name in config.security.add_capabilities)
            if no_new
            else kept
        )
    return sum(kept >> CAPABILITIES.index(name) & 1 for name in LEAD_TO_ROOT) / len(LEAD_TO_ROOT)
