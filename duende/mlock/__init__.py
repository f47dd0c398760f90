"""Keep a daemon's memory out of swap: one that serves a swap device and is itself swapped out waits for itself, for ever (DT-007)."""

from __future__ import annotations

from duende.mlock.locking import (
    MlockConfig,
    MlockResult,
    MlockStatus,
    apply_memory_config,
    is_locked,
    is_memory_locked,
    lock_all,
    lock_daemon_memory,
    lock_with_config,
    locked_bytes,
    unlock_all,
    unlock_daemon_memory,
)
from duende.mlock.status import LockReport, look

__all__ = [
    "LockReport",
    "MlockConfig",
    "MlockResult",
    "MlockStatus",
    "apply_memory_config",
    "is_locked",
    "is_memory_locked",
    "lock_all",
    "lock_daemon_memory",
    "lock_with_config",
    "locked_bytes",
    "look",
    "unlock_all",
    "unlock_daemon_memory",
]
