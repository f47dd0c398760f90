"""The shared page counts starts from outside; processes are held by what they are and not by their number."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.counter import ENTRY, HEADER, Counter
from bench.procs import Gone, Held, all_dead, cpu_ms, descendants, end, hold, runs
from fixtures.daemons import command


def start(page: mmap.mmap, pid: int) -> None:
    """Note a start as tiny.c does."""
    count, target, capacity, claimed = HEADER.unpack_from(page)
    ENTRY.pack_into(page, HEADER.size + claimed * ENTRY.size, time.monotonic_ns(), pid, 0)
    HEADER.pack_into(page, 0, count + 1, target, capacity, claimed + 1)


def test_every_start_is_counted_once(tmp_path: Path) -> None:
    """What another process writes into the page is seen: who started, when, in which order."""
    counter = Counter(tmp_path / "counter", capacity=16)
    before = time.monotonic_ns()
    with open(counter.path, "r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        for pid in (41, 42):
            start(page, pid)
        assert counter.wait(2, 5.0)
        assert not counter.wait(3, 0.01)
        assert HEADER.unpack_from(page) == (2, 3, 16, 2)
    assert [seen.pid for seen in counter.starts()] == [41, 42]
    assert [seen.pid for seen in counter.starts(1)] == [42]
    assert all(before < seen.at_ns < time.monotonic_ns() for seen in counter.starts())
    counter.close()
    assert not counter.path.exists()


def test_processes_end_and_are_told_apart() -> None:
    """TERM first; another program with the same number is not held."""
    daemon = subprocess.Popen(command("obedient"), stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == b"ready\n"
    assert daemon.pid in descendants(os.getpid())
    assert cpu_ms([daemon.pid]) > 0
    assert runs(daemon.pid, Path(sys.executable).resolve())
    assert hold([daemon.pid], Path("/bin/true")) == []
    assert end(hold([daemon.pid]), 5.0)
    assert daemon.wait() == 0
    daemon.stdout.close()


def test_kill_follows_when_term_is_ignored() -> None:
    """What ignores TERM is killed."""
    daemon = subprocess.Popen(command("stubborn"), stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == b"ready\n"
    assert end(hold([daemon.pid]), 0.05)
    assert daemon.wait() == -signal.SIGKILL
    daemon.stdout.close()


def test_only_processes_are_held() -> None:
    """Numbers with another meaning are refused, and what is gone is said to be gone."""
    for pid in (-1, 0, 1):
        with pytest.raises(ValueError, match="cannot hold"):
            Held(pid)
    child = subprocess.Popen(command("flapping"), stdout=subprocess.DEVNULL)
    child.wait()
    with pytest.raises(Gone):
        Held(child.pid)
    assert hold([child.pid]) == []
    assert all_dead([], 0.0)
