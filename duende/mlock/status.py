"""What of a process is locked, what may be, and what would become of mlockall(2) in it."""

from __future__ import annotations

import errno
import os

import msgspec

from duende.errors import AccessError, NotFoundError, NotSupportedError
from duende.mlock.locking import MlockConfig

CAP_IPC_LOCK = 14
"""Its bit (<linux/capability.h>)."""
UNLIMITED = 2**64 - 1


class LockReport(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment; sizes in bytes."""

    pid: int
    name: str
    locked: int
    resident: int
    swapped: int
    mapped: int
    """All that it has mapped, whether it is in memory or not: what the limit is compared with."""
    limit: int
    """RLIMIT_MEMLOCK, the soft one; `UNLIMITED` is none."""
    capable: bool
    """Whether CAP_IPC_LOCK is in effect in it, which no limit holds for."""

    def refusal(self, config: MlockConfig) -> int:
        """The errno that mlockall(2) would give it, 0 for none (mm/mlock.c: can_do_mlock, and the comparison in mlockall)."""
        if not config.flags:
            return 0
        if not (config.current or config.future):
            return errno.EINVAL
        if self.capable:
            return 0
        if self.limit == 0:
            return errno.EPERM
        return errno.ENOMEM if config.current and self.mapped > self.limit else 0


def look(pid: int | None = None) -> LockReport:
    """That process, or this one.

    Raises:
        NotFoundError: there is no such process.
        AccessError: it may not be looked at.
        NotSupportedError: this system has no /proc.
    """
    number = os.getpid() if pid is None else pid
    if not os.path.exists("/proc/self/status"):
        raise NotSupportedError("this system", "tell what of a process is locked", remedy="look on Linux")
    try:
        with open(f"/proc/{number}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{number}/limits", encoding="utf-8") as file:
            limit = limit_of(file.read())
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NotFoundError(f"there is no process {number}") from error
    except PermissionError as error:
        raise AccessError(
            f"cannot look at process {number}: {error.strerror}", remedy="look as root"
        ) from error

    def size(key: str) -> int:
        words = status.get(key, "").split()
        return int(words[0]) * 1024 if words else 0  # a kernel thread has no memory of its own

    return LockReport(
        pid=number,
        name=status.get("Name", ""),
        locked=size("VmLck"),
        resident=size("VmRSS"),
        swapped=size("VmSwap"),
        mapped=size("VmSize"),
        limit=limit,
        capable=bool(int(status.get("CapEff", "0"), 16) >> CAP_IPC_LOCK & 1),
    )


def limit_of(text: str) -> int:
    """The soft limit of locked memory in the text of /proc/<pid>/limits; `UNLIMITED` where it does not say one."""
    for line in text.splitlines():
        if line.startswith("Max locked memory"):
            word = line.removeprefix("Max locked memory").split()[0]
            return UNLIMITED if word == "unlimited" else int(word)
    return UNLIMITED
