"""Processes: who one is, what came of it, and being told of its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from duende.adapters.launchd import processes
from duende.adapters.launchd.processes import Kin
from duende.adapters.launchd.watch import ExitWatch
from falsification.units.support import run

MARK = "0b7a3c52-0000-4000-8000-00000000aaaa"


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a child, both marked, in a session of their own."""
    env = {**os.environ, "DUENDE_DAEMON_ID": MARK}
    parent = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 & echo up; wait"], env=env, stdout=subprocess.PIPE, start_new_session=True
    )
    with parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        since = processes.born(parent.pid)
        try:
            yield parent
        finally:
            for kin in (*processes.descendants(parent.pid, since), Kin(parent.pid, since)):
                processes.kill(kin)


def test_what_belongs_to_a_process(family: subprocess.Popen[bytes]) -> None:
    """Its child is found by descent, by the session and by the mark; a stranger of the same number has none."""
    since = processes.born(family.pid)
    assert since > 0
    (child,) = processes.descendants(family.pid, since)
    assert processes.lives(child)
    assert {child.pid, family.pid} == {kin.pid for kin in processes.family(MARK, 0, since)}
    assert {child.pid, family.pid} == {kin.pid for kin in processes.family("other", family.pid, since)}
    assert processes.descendants(family.pid, since + 1) == []
    assert not processes.is_stopped(family.pid, since)


def test_only_the_very_process_is_killed(family: subprocess.Popen[bytes]) -> None:
    """A number whose start time is another's is left alone, and so are 0, 1 and what has ended."""
    since = processes.born(family.pid)
    for kin in (Kin(family.pid, since + 1), Kin(1, processes.born(1)), Kin(0, 1), Kin(family.pid, 0)):
        assert not processes.kill(kin)
    assert processes.born(family.pid) == since
    assert processes.kill(Kin(family.pid, since))
    assert family.wait(10) == -signal.SIGKILL
    assert not processes.kill(Kin(family.pid, since))
    assert processes.born(family.pid) == 0


def test_ends_are_told_once(family: subprocess.Popen[bytes]) -> None:
    """The kernel says when it ends; of one that is over, or another's number, it is said at once."""

    async def body() -> None:
        since, told = processes.born(family.pid), asyncio.Event()
        watch = ExitWatch(family.pid, since, told.set)
        assert not told.is_set()
        processes.kill(Kin(family.pid, since))
        await asyncio.wait_for(told.wait(), 10)
        watch.close()
        for pid, moment in ((family.pid, since), (os.getpid(), 1)):
            over = asyncio.Event()
            ExitWatch(pid, moment, over.set)
            await asyncio.wait_for(over.wait(), 10)

    run(body())


def test_this_boot_has_an_id() -> None:
    """The same for every look."""
    assert processes.this_boot() == processes.this_boot() != ""
