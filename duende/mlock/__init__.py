"""Keep a daemon's memory out of swap."""

from __future__ import annotations

import errno
import sys

import msgspec

from duende.config.model import ResourceConfig
from duende.errors import AccessError, PlatformConfigError, PlatformError, PlatformResourceError
from duende.kernel import memlock

__all__ = [
    "MlockResult",
    "apply_memory_config",
    "is_memory_locked",
    "lock_daemon_memory",
    "locked_bytes",
    "unlock_daemon_memory",
]

_REMEDY = {
    errno.EPERM: "give CAP_IPC_LOCK: setcap cap_ipc_lock+ep PROGRAM, docker --cap-add=IPC_LOCK,"
    " systemd AmbientCapabilities=CAP_IPC_LOCK",
    errno.ENOMEM: "raise RLIMIT_MEMLOCK: ulimit -l unlimited, docker --ulimit memlock=-1:-1,"
    " systemd LimitMEMLOCK=infinity",
}
_CLASS: dict[int, type[PlatformError]] = {
    errno.EPERM: AccessError,
    errno.ENOMEM: PlatformResourceError,
    errno.EINVAL: PlatformConfigError,
}


class MlockResult(msgspec.Struct, frozen=True):
    """What came of it: `state` is "success", "failed" (with errno) or "disabled" where the platform has no
    such thing.
    """

    state: str
    errno: int = 0


def lock_daemon_memory(required: bool) -> MlockResult:
    """Lock all present and future memory of this process.

    Raises:
        PlatformError: it failed and is *required*; the text says what would help.
    """
    if sys.platform != "linux":
        if required:
            raise PlatformConfigError(
                f"cannot lock memory on {sys.platform}", remedy="unset lock_memory_required"
            )
        return MlockResult("disabled")
    try:
        memlock.mlockall(memlock.MCL_CURRENT | memlock.MCL_FUTURE)
    except OSError as error:
        number = error.errno or 0
        if required:
            kind = _CLASS.get(number, PlatformError)
            raise kind(
                f"cannot lock memory: {error.strerror} (errno {number})", remedy=_REMEDY.get(number, "")
            ) from error
        return MlockResult("failed", number)
    return MlockResult("success")


def unlock_daemon_memory() -> None:
    """Unlock everything.

    Raises:
        OSError: the kernel refused.
    """
    memlock.munlockall()


def is_memory_locked() -> bool:
    """Whether any memory of this process is locked."""
    return memlock.locked_bytes() > 0


def locked_bytes() -> int:
    """How many bytes are locked."""
    return memlock.locked_bytes()


def apply_memory_config(resources: ResourceConfig) -> MlockResult:
    """Lock memory if the configuration asks for it; raises as `lock_daemon_memory` does."""
    return (
        lock_daemon_memory(resources.lock_memory_required)
        if resources.lock_memory
        else MlockResult("disabled")
    )
