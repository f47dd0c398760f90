"""mlockall(2), with what came of it or what would help."""

from __future__ import annotations

import errno
import sys

import msgspec

from duende.config.model import ResourceConfig
from duende.errors import AccessError, PlatformConfigError, PlatformError, PlatformResourceError
from duende.kernel import memlock

REMEDY = {
    errno.EPERM: "give CAP_IPC_LOCK: setcap cap_ipc_lock+ep PROGRAM, docker --cap-add=IPC_LOCK,"
    " systemd AmbientCapabilities=CAP_IPC_LOCK, Kubernetes securityContext.capabilities.add: [IPC_LOCK]",
    errno.ENOMEM: "raise RLIMIT_MEMLOCK: ulimit -l unlimited, docker --ulimit memlock=-1:-1,"
    " systemd LimitMEMLOCK=infinity; on Kubernetes, which has no such limit, add the capability IPC_LOCK",
    errno.EINVAL: "use MCL_ONFAULT (Linux 4.4) only together with current or future",
    errno.EAGAIN: "some pages cannot be locked now: free memory, and try again",
}
"""What helps against each errno, on bare Linux, systemd, Docker and Kubernetes."""
_CLASS: dict[int, type[PlatformError]] = {
    errno.EPERM: AccessError,
    errno.ENOMEM: PlatformResourceError,
    errno.EINVAL: PlatformConfigError,
    errno.EAGAIN: PlatformResourceError,
}
MIB, KIB = 1 << 20, 1 << 10


class MlockConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is locked (mlockall(2))."""

    current: bool = True
    """Pages that are mapped now."""
    future: bool = True
    """Pages that will be; a later mapping then fails where the limit does not allow it."""
    required: bool = True
    """Whether it is an error that nothing can be locked."""
    onfault: bool = False
    """Pages only once they are touched (Linux 4.4): of a large mapping that is hardly used little is held."""

    @property
    def flags(self) -> int:
        """For mlockall(2); 0 asks for nothing."""
        return (
            memlock.MCL_CURRENT * self.current
            | memlock.MCL_FUTURE * self.future
            | memlock.MCL_ONFAULT * self.onfault
        )


class MlockStatus(msgspec.Struct, frozen=True):
    """What came of it: `state` is "locked" (with bytes), "failed" (with errno) or "unsupported" by this system."""

    state: str
    bytes: int = 0
    errno: int = 0

    @property
    def is_locked(self) -> bool:
        """Whether what was asked for is locked."""
        return self.state == "locked"

    def __str__(self) -> str:
        if self.state == "failed":
            return f"failed (errno={self.errno})"
        if self.state != "locked":
            return "unsupported platform"
        if self.bytes >= MIB:
            return f"locked ({self.bytes // MIB} MB)"
        return f"locked ({self.bytes // KIB} KB)" if self.bytes >= KIB else f"locked ({self.bytes} bytes)"


class MlockResult(msgspec.Struct, frozen=True):
    """What came of it: `state` is "success", "failed" (with errno) or "disabled" where the platform has no
    such thing.
    """

    state: str
    errno: int = 0


def lock_with_config(config: MlockConfig) -> MlockStatus:
    """Lock what *config* says; what is asked for by no flag at all is locked already.

    Raises:
        PlatformError: it failed and is required; the text says what would help.
    """
    if not config.flags:
        return MlockStatus("locked")
    if sys.platform != "linux":
        if config.required:
            raise PlatformConfigError(
                f"cannot lock memory on {sys.platform}", remedy="unset lock_memory_required"
            )
        return MlockStatus("unsupported")
    try:
        memlock.mlockall(config.flags)
    except OSError as error:
        number = error.errno or 0
        if config.required:
            kind = _CLASS.get(number, PlatformError)
            raise kind(
                f"cannot lock memory: {error.strerror} (errno {number})", remedy=REMEDY.get(number, "")
            ) from error
        return MlockStatus("failed", errno=number)
    return MlockStatus("locked", memlock.locked_bytes())


def lock_all() -> MlockStatus:
    """Lock all present and future memory of this process; raises as `lock_with_config` does."""
    return lock_with_config(MlockConfig())


def lock_daemon_memory(required: bool) -> MlockResult:
    """Lock all present and future memory of this process; raises as `lock_with_config` does where it is *required*."""
    found = lock_with_config(MlockConfig(required=required))
    if found.state == "unsupported":
        return MlockResult("disabled")
    return MlockResult("success") if found.is_locked else MlockResult("failed", found.errno)


def unlock_all() -> None:
    """Unlock everything.

    Raises:
        PlatformError: the kernel refused.
    """
    if sys.platform != "linux":
        return
    try:
        memlock.munlockall()
    except OSError as error:
        kind = _CLASS.get(error.errno or 0, PlatformError)
        raise kind(f"cannot unlock memory: {error.strerror} (errno {error.errno})") from error


def unlock_daemon_memory() -> None:
    """The same under the platform's name; raises as it does."""
    unlock_all()


def is_locked() -> bool:
    """Whether any memory of this process is locked."""
    return memlock.locked_bytes() > 0


def is_memory_locked() -> bool:
    """The same under the platform's name."""
    return is_locked()


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
