"""Attempts on what is told of processes beside their figures: room on disk, trees, threads, and GPUs where there are none."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

from duende.observe.diskuse import disk_usage
from duende.observe.gpu import gpus
from duende.observe.monitor import DaemonMonitor
from duende.observe.tree import process_tree
from falsification.kit import Trial, attempt
from falsification.workbench import adapter_for
from fixtures import limited

FAMILY = """
import os, sys, time
folder, depth, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def grow(level):
    with open(f"{folder}/{os.getpid()}.new", "w") as file:
        file.write(f"{os.getppid()}")
    os.rename(f"{folder}/{os.getpid()}.new", f"{folder}/{os.getpid()}")
    for number in range(width if level < depth else 0):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            grow(level + 1)
    while True: time.sleep(600)
grow(0)
"""
THREADS = """
import sys, threading
done = threading.Event()
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=done.wait, daemon=True).start()
print("started", flush=True)
done.wait()
"""


def written(folder: Path) -> dict[int, int]:
    """Process -> parent, as each has written it down."""
    return {int(file.name): int(file.read_text()) for file in folder.iterdir() if file.name.isdecimal()}


def all_there(folder: Path, count: int) -> bool:
    """Whether so many have."""
    return len(written(folder)) == count


def du(path: Path) -> int:
    """Bytes that the command du counts."""
    line = ["du", "--summarize", "--block-size=1", str(path)]
    return int(subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout.split()[0])


@attempt("F030", timeout=60, saboteurs=["disk-use-is-by-length", "disk-use-counts-every-name"])
async def test_reported_disk_use_is_right(trial: Trial) -> None:
    """Of a daemon's folder with small, large, sparse and hard-linked files, deep and wide, the room reported is that of du within one percent."""
    trial.situation("a folder was measured", at_least=5)
    chance = random.Random(trial.seed)
    folder = trial.tmp / "state"
    wrong: list[float] = []
    for number in range(5):
        below = folder / f"{number}" / "a" / "b"
        below.mkdir(parents=True)
        for each in range(100):
            (below / f"small-{each}").write_bytes(chance.randbytes(chance.randrange(1, 5000)))
        (below / "large").write_bytes(chance.randbytes(3 << 20))
        for each in range(3):
            os.link(below / "large", below / f"large-{each}")
        with (below / "sparse").open("wb") as file:
            file.truncate(1 << 30)
            file.seek(1 << 29)
            file.write(b"x")
        (below / "link").symlink_to("/usr")
        os.sync()  # blocks are given to files when they are written down
        reported, real = disk_usage([str(folder)]), du(folder)
        wrong.append(100 * abs(reported - real) / real)
        trial.reached("a folder was measured", real > 1 << 20)
    trial.judge(wrong)


@attempt("F058", timeout=30, saboteurs=["no-gpu-is-an-error", "no-gpu-is-an-idle-one"])
async def test_no_gpu_is_nothing(trial: Trial) -> None:
    """On a machine without a GPU there is no error, and nothing is told: neither where the package is absent nor where the driver is."""
    trial.situation("there was no GPU", at_least=2)
    if Path("/dev/nvidiactl").exists():
        trial.log("this machine has a GPU: the claim is about those that have none")
        return
    for hidden in (False, True):
        if hidden:
            trial.defer(sys.modules.__setitem__, "pynvml", sys.modules["pynvml"])
            sys.modules["pynvml"] = None  # type: ignore[assignment]  # so that an import fails
        try:
            found = gpus()
        except Exception as error:  # noqa: BLE001  (any error falsifies it)
            trial.check(False, f"no error: {error!r}")
            return
        trial.check(found is None, f"nothing is told: {found}")
        trial.reached("there was no GPU")


@attempt(
    "F057",
    level="native",
    timeout=60,
    needs=["nvidia-smi"],
    saboteurs=["gpu-use-is-not-asked", "gpu-memory-is-the-whole"],
)
async def test_gpu_metrics_appear(trial: Trial) -> None:
    """Of every GPU that the driver's own command lists, utilisation is told, and memory in use within one percent of the card's."""
    line = [
        "nvidia-smi",
        "--query-gpu=index,utilization.gpu,memory.used,memory.total",
        "--format=csv,noheader,nounits",
    ]
    listed = subprocess.run(line, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()
    found = gpus()
    trial.check(found is not None and len(found) == len(listed), f"all {len(listed)} GPUs are told: {found}")
    for row, sample in zip(listed, found or [], strict=True):
        number, _, used, total = (word.strip() for word in row.split(","))
        trial.check(sample.number == int(number), f"in their order: {sample}")
        busy = sample.utilisation_percent
        trial.check(busy is not None and 0 <= busy <= 100, f"utilisation is told: {busy}")
        room = int(total) << 20
        memory = sample.memory_bytes if sample.memory_bytes is not None else -room
        trial.check(abs(memory - (int(used) << 20)) <= room / 100, f"memory in use is told: {memory}")
        trial.reached("a GPU was asked")


@attempt("F059", timeout=90, saboteurs=["tree-has-no-grandchildren", "tree-goes-by-sessions"])
async def test_the_process_tree_is_right(trial: Trial) -> None:
    """Of daemons that fork, deep and wide, with sessions of their own among them, each process is below the parent that it has itself written down."""
    trial.situation("a tree of processes was read", at_least=3)
    adapter = await adapter_for(trial)
    for depth, width in ((1, 5), (3, 2), (6, 1)):
        folder = trial.tmp / f"{depth}-{width}"
        folder.mkdir()
        expected = sum(width**level for level in range(depth + 1))
        handle = await limited.launch(adapter, limited.program("family", FAMILY, folder, depth, width))

        await trial.until(partial(all_there, folder, expected), within=20, what="all of them live")
        truth = written(folder)
        tree = process_tree(handle.pid)
        trial.check(tree is not None, "the daemon is found")
        if tree is None:
            return
        found = {child.pid: node.pid for node in tree.walk() for child in node.children}
        truth.pop(handle.pid)
        trial.check(found == truth, f"depth {depth}, width {width}: each below its parent: {found} {truth}")
        trial.check(tree.stat.ppid != handle.pid and len(list(tree.walk())) == expected, f"{expected} in all")
        trial.reached("a tree of processes was read")
        await adapter.stop(handle, 5.0)
        trial.check(process_tree(handle.pid) is None, "and none when it has ended")


@attempt("F060", timeout=60, saboteurs=["threads-are-those-of-the-start", "threads-without-the-first"])
async def test_the_thread_count_is_right(trial: Trial) -> None:
    """Of daemons with one thread to many the count reported is the number of entries in /proc/<pid>/task."""
    trial.situation("threads were counted", at_least=4)
    adapter, monitor = await adapter_for(trial), DaemonMonitor()
    trial.defer(monitor.close)
    for wanted in (1, 2, 17, 40):
        handle = await limited.launch(adapter, limited.program("threads", THREADS, wanted))
        monitor.watch(handle.name, handle.pid)
        line = await limited.said(adapter, handle)
        trial.check(line == "started", f"it runs: {line!r}")
        reported, real = monitor.collect()[handle.name].threads, len(os.listdir(f"/proc/{handle.pid}/task"))
        trial.check(reported == real == wanted, f"{reported} reported, {real} there, {wanted} wanted")
        trial.reached("threads were counted")
        await adapter.stop(handle, 5.0)
        monitor.forget(handle.name)
