"""Parsers of /proc on any bytes; readers, trees and monitors of processes that vanish, hang about as zombies, and have odd names."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from duende.errors import ConfigError, NotFoundError
from duende.observe import procfs
from duende.observe.diskuse import disk_usage
from duende.observe.monitor import DaemonMonitor, Reading
from duende.observe.procfs import ProcessReader, parse_stat
from duende.observe.tree import process_tree
from falsification.units.loops import run, until

LINE = b"42 (a) (b c) S 7 8 9 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 12345 " + b"0 " * 30


@given(st.binary(max_size=500))
@example(LINE)
@example(b"1 () R 1")
@example(b")(")
def test_any_bytes_are_parsed_or_nothing(raw: bytes) -> None:
    """No parser raises; what a line of another form says is nothing."""
    for parse in (
        procfs.parse_stat,
        procfs.parse_statm,
        procfs.parse_io,
        procfs.parse_switches,
        procfs.parse_pss,
    ):
        parse(raw)


def test_what_a_stat_line_says() -> None:
    """The command ends at the last bracket; times are in ticks."""
    found = parse_stat(LINE)
    assert found is not None
    assert (found.command, found.state, found.ppid, found.threads, found.start_time) == (
        "a) (b c",
        "S",
        7,
        3,
        12345,
    )
    assert found.cpu_seconds == 200 / procfs.TICK
    assert procfs.parse_statm(b"9 5 1 0 0 0 0\n") == 5 * procfs.PAGE
    assert procfs.parse_io(b"rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\n") == (4096, 8192)
    assert procfs.parse_switches(b"voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n") == (3, 4)
    assert procfs.parse_pss(b"Rss: 9 kB\nPss:  3 kB\n") == 3072


def test_a_process_with_an_odd_name(tmp_path: Path) -> None:
    """Brackets and blanks in a name are its own affair."""
    odd = tmp_path / "a) R (b"
    shutil.copy("/bin/sleep", odd)
    child = subprocess.Popen([str(odd), "600"])
    try:
        with ProcessReader(child.pid) as reader:
            deadline = time.monotonic() + 10
            while (tree := process_tree(child.pid)) is None or tree.stat.comm != "a) R (b":
                assert time.monotonic() < deadline
            sample = reader.sample()
            assert sample is not None
            assert sample.threads == 1
            assert reader.descriptors() in (3, 4)
            assert reader.switches() is not None
            assert (reader.pss() or 0) > 0
    finally:
        child.kill()
        child.wait()


def test_a_process_that_ends() -> None:
    """A zombie has a state; one that was waited for is gone, for this reader for ever, and there is no new one of it."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with ProcessReader(child.pid) as reader:
        assert reader.sample() is not None
        assert child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        zombie = reader.sample()
        assert zombie is not None
        assert (zombie.state, zombie.rss_bytes) == ("Z", 0)
        child.wait()
        assert reader.sample() is None
        assert not reader.alive
        assert (reader.descriptors(), reader.switches(), reader.pss()) == (None, None, None)
    with pytest.raises(ProcessLookupError, match="no process"):
        ProcessReader(child.pid)
    assert process_tree(child.pid) is None


def test_a_kernel_thread() -> None:
    """It has no memory of its own, and is sampled like any other."""
    kernel = process_tree(2)
    if kernel is None:
        pytest.skip("this namespace has no kernel threads")
    threads = [node.pid for node in kernel.walk()]
    with ProcessReader(threads[-1]) as reader:
        sample = reader.sample()
        assert sample is None or sample.rss_bytes == 0


def test_a_monitor() -> None:
    """It keeps what was of a name when another process takes it, leaves out what has ended, and tells listeners."""

    async def body() -> None:
        told: list[str] = []
        monitor = DaemonMonitor(interval=0.01, capacity=5)
        monitor.subscribe(lambda name, _: told.append(name))
        monitor.watch("me", os.getpid())
        monitor.start()
        monitor.start()
        await until(lambda: len(told) >= 8)
        await monitor.stop()
        found = monitor.history("me")
        assert len(found) == 5
        assert all(isinstance(each, Reading) and each.rss_bytes > 0 for each in found)
        assert monitor.history("me", start=found[-1].at) == found[-1:]
        child = await asyncio.create_subprocess_exec("/bin/sleep", "600")
        monitor.watch("me", child.pid)
        child.kill()
        await child.wait()
        assert monitor.collect() == {}
        assert monitor.history("me") == found, "what is known of a name outlives its process"
        monitor.forget("me")
        with pytest.raises(NotFoundError):
            monitor.history("me")
        monitor.close()

    run(body())


def test_turns_that_take_too_long_are_counted() -> None:
    """They are left out, and the next ones come at whole intervals all the same."""

    async def body() -> None:
        monitor = DaemonMonitor(interval=0.01)
        monitor.watch("me", os.getpid())
        slow = iter([0.055])
        monitor.subscribe(lambda *_: time.sleep(next(slow, 0.0)))
        monitor.start()
        await until(lambda: len(monitor.history("me")) >= 4)
        await monitor.stop()
        assert monitor.missed >= 5
        monitor.close()

    run(body())


def test_what_is_no_interval() -> None:
    """It is refused."""
    for interval in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError):
            DaemonMonitor(interval=interval)
    with pytest.raises(ConfigError):
        DaemonMonitor(capacity=0)


def test_room_that_is_nobodys(tmp_path: Path) -> None:
    """What is not there takes none, what is given twice takes it once, and links are not followed."""
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "link").symlink_to("/usr")
    once = disk_usage([str(tmp_path)])
    assert once >= 10_000
    assert disk_usage([str(tmp_path), str(tmp_path / "file"), str(tmp_path / "absent")]) == once


def test_nothing_is_left_open() -> None:
    """A reader that is closed has no descriptor any more, and one that could not be made has none at all."""
    before = len(os.listdir("/proc/self/fd"))
    ProcessReader(os.getpid()).close()
    with pytest.raises(ProcessLookupError):
        ProcessReader(2**22 + 1)
    assert len(os.listdir("/proc/self/fd")) == before
