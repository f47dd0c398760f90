"""Daemons whose parent is not our warden."""

from __future__ import annotations

import os
from typing import Any

import pytest

from duende.adapters.contract import DaemonHandle, Ownership, Platform
from duende.adapters.native import foreign
from duende.errors import IdentityError, InstanceNotFoundError
from duende.kernel.process import boot_id, read_stat
from duende.states import Phase
from falsification.units.loops import run, until


def test_strangers_are_never_signalled() -> None:
    """A handle whose start time, boot or number does not fit is refused by every verb."""
    stat = read_stat(os.getpid())
    assert stat is not None
    good = boot_id()

    def handle(**fields: Any) -> DaemonHandle:
        base = {"pid": os.getpid(), "start_time": stat.start_time, "boot_id": good, **fields}
        return DaemonHandle(daemon_id="i", name="n", platform=Platform.NATIVE, instance="x", **base)

    assert foreign.verify(handle()) is Ownership.OURS
    assert foreign.verify(handle(start_time=1)) is Ownership.STRANGER
    assert foreign.verify(handle(start_time=0)) is Ownership.UNVERIFIABLE
    assert foreign.verify(handle(boot_id="another")) is Ownership.GONE
    assert foreign.verify(handle(pid=1)) is Ownership.GONE
    for bad, error in (
        (handle(start_time=1), IdentityError),
        (handle(pid=1), IdentityError),
        (handle(boot_id="other"), InstanceNotFoundError),
    ):
        with pytest.raises(error):
            foreign.send(bad, 0)
    assert foreign.status(handle(start_time=1)).phase is Phase.STOPPED
    foreign.send(handle(), 0)


def test_foreign_daemons_are_stopped_with_proof() -> None:
    """A daemon that another process started is stopped through its pidfd, its kin found by session."""

    async def body() -> None:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", "trap '' TERM; sleep 104 & wait"],
            {"DUENDE_DAEMON_ID": "foreign", "PATH": os.environ["PATH"]},
            setsid=True,
        )
        stat = read_stat(pid)
        assert stat is not None
        handle = DaemonHandle(
            daemon_id="foreign",
            name="n",
            platform=Platform.NATIVE,
            instance="x",
            pid=pid,
            start_time=stat.start_time,
            boot_id=boot_id(),
        )
        await until(lambda: len(foreign.family(handle)) == 2)
        proof = await foreign.stop(handle, 0.2)
        assert proof.proven
        assert proof.escalated
        again = await foreign.stop(handle, 0.2)
        assert again.proven
        await foreign.reap_helper(pid, 1.0)

    run(body())
