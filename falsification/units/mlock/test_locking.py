"""Memory locking: what the kernel says becomes a result or an error that helps."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from duende import AccessError, PlatformError, ResourceConfig
from duende.errors import PlatformConfigError, PlatformResourceError
from duende.kernel import memlock
from duende.mlock import (
    MlockConfig,
    MlockResult,
    MlockStatus,
    apply_memory_config,
    is_memory_locked,
    lock_all,
    lock_daemon_memory,
    lock_with_config,
    locked_bytes,
    unlock_all,
    unlock_daemon_memory,
)
from falsification.units.support import DEADLINE

ROOT = str(Path(__file__).resolve().parents[3])
LOCKING = """
from duende.mlock import is_memory_locked, lock_daemon_memory, locked_bytes, unlock_daemon_memory
found = lock_daemon_memory(False)
print(found.state, found.errno, is_memory_locked(), locked_bytes())
unlock_daemon_memory()
print(is_memory_locked())
"""


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.EPERM, AccessError, "CAP_IPC_LOCK"),
        (errno.ENOMEM, PlatformResourceError, "RLIMIT_MEMLOCK"),
        (errno.EINVAL, PlatformConfigError, "MCL_ONFAULT"),
        (errno.EIO, PlatformError, ""),
        (errno.EAGAIN, PlatformResourceError, "free memory"),
    ],
)
def test_errors_have_their_class_and_remedy(
    number: int, kind: type[PlatformError], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Required memory that cannot be locked raises by errno; memory that need not be gives the errno as a
    result.
    """

    def refuse(flags: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(memlock, "mlockall", refuse)
    with pytest.raises(kind, match=f"errno {number}") as caught:
        lock_daemon_memory(True)
    assert remedy in caught.value.remedy
    assert lock_daemon_memory(False) == MlockResult("failed", number)
    assert apply_memory_config(ResourceConfig(lock_memory=True)) == MlockResult("failed", number)
    with pytest.raises(kind):
        apply_memory_config(ResourceConfig(lock_memory=True, lock_memory_required=True))


def test_nothing_is_locked_unasked() -> None:
    """Without lock_memory nothing happens."""
    assert apply_memory_config(ResourceConfig()) == MlockResult("disabled")
    assert is_memory_locked() == (locked_bytes() > 0)


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the call is missing, required raises and optional is disabled."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert lock_daemon_memory(False) == MlockResult("disabled")
    assert locked_bytes() == 0
    with pytest.raises(PlatformConfigError, match="darwin"):
        lock_daemon_memory(True)


def test_the_kernel_is_really_asked() -> None:
    """In a process of its own: locked memory shows in VmLck and is gone after unlocking, or the errno says
    why not.
    """
    found = subprocess.run(
        [sys.executable, "-c", LOCKING],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    state, number, locked, size, after = found.stdout.split()
    assert found.returncode == 0
    assert after == "False"
    if state == "success":
        assert (locked, number) == ("True", "0")
        assert int(size) > 0
    else:
        assert int(number) in (errno.EPERM, errno.ENOMEM)


def test_wrong_flags_are_the_kernels_error() -> None:
    """MCL_ONFAULT alone is EINVAL (mlockall(2)); unlocking what is not locked is fine."""
    with pytest.raises(OSError, match="Invalid argument") as caught:
        memlock.mlockall(memlock.MCL_ONFAULT)
    assert caught.value.errno == errno.EINVAL
    unlock_daemon_memory()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (MlockStatus("locked", 3 << 20), "locked (3 MB)"),
        (MlockStatus("locked", 3 << 10), "locked (3 KB)"),
        (MlockStatus("locked"), "locked (0 bytes)"),
        (MlockStatus("failed", errno=12), "failed (errno=12)"),
        (MlockStatus("unsupported"), "unsupported platform"),
    ],
)
def test_a_status_as_text(status: MlockStatus, text: str) -> None:
    """In the largest unit that fits."""
    assert str(status) == text
    assert status.is_locked == text.startswith("locked")


def test_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its own; none of them is no call."""
    asked: list[int] = []
    monkeypatch.setattr(memlock, "mlockall", asked.append)
    assert lock_all().is_locked
    assert lock_with_config(MlockConfig(current=False, onfault=True)).is_locked
    assert lock_with_config(MlockConfig(current=False, future=False)) == MlockStatus("locked")
    assert asked == [memlock.MCL_CURRENT | memlock.MCL_FUTURE, memlock.MCL_FUTURE | memlock.MCL_ONFAULT]


def test_unlocking_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its errno."""

    def refuse() -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(memlock, "munlockall", refuse)
    with pytest.raises(AccessError, match="cannot unlock"):
        unlock_all()
