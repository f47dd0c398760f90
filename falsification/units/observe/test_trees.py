"""What whole trees of processes use, and processes that may not be looked at."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from duende.observe.trees import NOTHING, TreeMonitor
from falsification.units.loops import DEADLINE

BUSY = """
import os, sys
child = os.fork()
if child == 0:
    while True:
        sum(range(1000))
print(child, flush=True)
os.wait()
"""
HIDDEN = """
import os, sys
from duende.errors import AccessError
from duende.observe.procfs import ProcessReader
from duende.observe.tree import process_tree
from duende.observe.trees import NOTHING, TreeMonitor
child = os.fork()
if child == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    used = TreeMonitor().look({"one": 1})["one"]
    tree = process_tree(1)
    try:
        with ProcessReader(1) as reader:
            sample = reader.sample()
            print(sample.written_bytes, reader.pss(), reader.descriptors(), used.rss_bytes > 0, tree is not None, flush=True)
    except AccessError as error:
        print("access", "hidepid" in str(error), used == NOTHING, tree, flush=True)
    except ProcessLookupError:
        print("unseen", used == NOTHING, tree, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_tree_that_works() -> None:
    """The child's time counts from the second look on; what has ended uses nothing."""
    busy = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    monitor = TreeMonitor()
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        first = monitor.look({"busy": busy.pid, "none": 0, "gone": 2**22 - 1})
        assert math.isnan(first["busy"].cpu_percent)
        assert (first["busy"].processes, first["busy"].threads) == (2, 2)
        assert first["busy"].rss_bytes > 1 << 20
        assert first["none"] == first["gone"] == NOTHING
        deadline = time.monotonic() + DEADLINE
        while monitor.look({"busy": busy.pid})["busy"].cpu_percent < 10:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # between looks: it is what they lie apart that is measured
    finally:
        for pid in (int(each) for each in children_of(busy.pid)):
            os.kill(pid, 9)
        busy.wait(DEADLINE)
        if busy.stdout is not None:
            busy.stdout.close()
    assert monitor.look({"busy": busy.pid})["busy"] == NOTHING
    assert monitor.look({}) == {}
    monitor.close()


def children_of(pid: int) -> list[str]:
    """Those it has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.skipif(
    shutil.which("unshare") is None or os.geteuid() != 0, reason="mounts a /proc of its own: root, unshare"
)
@pytest.mark.parametrize(
    ("hidepid", "told"),
    [
        (0, "None None None True True"),  # who it is may be seen, and not what it has
        (1, "access True True None"),
        (2, "unseen True None"),
    ],
)
def test_a_process_that_may_not_be_looked_at(hidepid: int, told: str) -> None:
    """Of another user's, in a /proc that hides nothing, what is inside, or all of it (proc(5))."""
    shell = f'mount -t proc -o hidepid={hidepid} proc /proc && exec "$1" -c "$2"'
    line = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", shell, "sh", sys.executable, HIDDEN]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == told, done.stderr
