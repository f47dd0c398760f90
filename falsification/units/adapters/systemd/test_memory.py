"""What the kernel's reports about a memory group of cgroup v1 mean, in whichever order they come."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from duende.adapters.systemd import memory
from falsification.units.support import run

Body = Callable[[memory.MemoryWatch, Path, int], Awaitable[None]]


def group(path: Path, kills: int | None) -> Path:
    """A folder like a group's, whose kernel counts kills or does not."""
    path.mkdir(exist_ok=True)
    count = "" if kills is None else f"oom_kill {kills}\n"
    (path / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\n{count}")
    return path


def watched(tmp_path: Path, body: Body, kills: int | None = 0) -> None:
    """Run *body* with a watch of a group, its folder, and the eventfd the kernel would write to."""

    async def whole() -> None:
        folder = group(tmp_path / "g", kills)
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        kernel = os.dup(fd)
        watch = memory.MemoryWatch(str(folder), fd)
        try:
            await body(watch, folder, kernel)
        finally:
            watch.close()
            watch.close()
            os.close(kernel)

    run(whole())


def test_an_ordinary_end_is_told_at_once(tmp_path: Path) -> None:
    """While the group is there and has counted nothing, and when it went without a word so far, nobody waits."""

    async def body(watch: memory.MemoryWatch, folder: Path, kernel: int) -> None:
        async with asyncio.timeout(memory.REMOVED_WITHIN / 2):
            assert not await watch.ran_out()
            shutil.rmtree(folder)
            assert not await watch.ran_out()

    watched(tmp_path, body)


def test_a_kill_is_counted_while_the_group_is_there(tmp_path: Path) -> None:
    """A report is taken as it comes, so that the group may go before anybody asks."""

    async def body(watch: memory.MemoryWatch, folder: Path, kernel: int) -> None:
        group(folder, 1)
        os.eventfd_write(kernel, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        shutil.rmtree(folder)
        assert await watch.ran_out()

    watched(tmp_path, body)


def test_a_kill_before_anybody_listened(tmp_path: Path) -> None:
    """The count of the group says it."""

    async def body(watch: memory.MemoryWatch, folder: Path, kernel: int) -> None:
        shutil.rmtree(folder)
        assert await watch.ran_out()

    watched(tmp_path, body, kills=1)


@pytest.mark.parametrize("late", [True, False])
def test_two_reports_of_a_group_that_went_are_a_kill_and_its_removal(tmp_path: Path, late: bool) -> None:
    """The second one may take a moment."""

    async def body(watch: memory.MemoryWatch, folder: Path, kernel: int) -> None:
        shutil.rmtree(folder)
        os.eventfd_write(kernel, 1 if late else 2)
        asking = asyncio.create_task(watch.ran_out())
        await asyncio.sleep(0)
        if late:
            os.eventfd_write(kernel, 1)
        assert await asking

    watched(tmp_path, body)


def test_one_report_of_a_group_that_went_is_its_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no second one comes in time."""
    monkeypatch.setattr(memory, "REMOVED_WITHIN", 0.02)

    async def body(watch: memory.MemoryWatch, folder: Path, kernel: int) -> None:
        shutil.rmtree(folder)
        os.eventfd_write(kernel, 1)
        assert not await watch.ran_out()

    watched(tmp_path, body)


def test_a_kernel_that_does_not_count(tmp_path: Path) -> None:
    """Then a report while the group is there can only be of memory."""

    async def body(watch: memory.MemoryWatch, folder: Path, kernel: int) -> None:
        assert not await watch.ran_out()
        os.eventfd_write(kernel, 1)
        assert await watch.ran_out()

    watched(tmp_path, body, kills=None)
