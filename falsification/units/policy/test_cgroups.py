"""Control groups without a kernel: where they are, what is written, what is read; any text is survived."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.policy.cgroups.readings import Usage, fields, limit_shown, number, usage_of
from duende.policy.cgroups.view import View, view_of
from duende.policy.cgroups.writes import Limits, quota_of, weight_of, writes

V1 = """\
30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 24 0:29 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
"""
V1_OWN = "4:memory:/user/1\n3:cpu,cpuacct:/\n2:pids:/\n1:blkio:/\n0::/\n"
V2 = "29 24 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = V1.splitlines()[0] + "\n35 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def view(mountinfo: str, own: str, **files: str) -> View:
    """The view of a host with these files, by path with _ for each /."""
    texts = {name.replace("__", "/"): text for name, text in files.items()}
    return view_of(
        mountinfo,
        own,
        lambda path: texts.get(path.lstrip("/").replace("/sys/", "sys/").replace("cgroup.", "")),
    )


def test_version_1_by_controller() -> None:
    """Each controller below the group this process is in, in its own tree."""
    found = view(V1, V1_OWN)
    bases = {
        name: tree.base
        for name in ("memory", "cpu", "pids", "io")
        if (tree := found.home_of(name)) is not None
    }
    assert bases == {
        "memory": "/sys/fs/cgroup/memory/user/1",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "pids": "/sys/fs/cgroup/pids",
        "io": "/sys/fs/cgroup/blkio",
    }


def v2(own: str, texts: dict[str, str]) -> View:
    """A host of version 2 with these files."""
    return view_of(V2, f"0::{own}\n", texts.get)


def test_version_2_at_the_root_and_delegated() -> None:
    """At the root groups are made there; elsewhere beside the own group, where the parent has no processes and hands controllers down."""
    root = "/sys/fs/cgroup"
    found = v2(
        "/", {f"{root}/cgroup.controllers": "cpuset cpu io memory pids\n", f"{root}/cgroup.procs": "1\n"}
    )
    tree = found.home_of("memory")
    assert tree is not None
    assert (tree.version, tree.base, sorted(tree.controllers)) == (2, root, ["cpu", "io", "memory", "pids"])
    unit = f"{root}/system.slice/duende.service"
    found = v2(
        "/system.slice/duende.service/manager",
        {f"{unit}/cgroup.controllers": "memory pids", f"{unit}/cgroup.procs": ""},
    )
    tree = found.home_of("pids")
    assert tree is not None
    assert (tree.base, found.home_of("cpu")) == (unit, None)
    busy = v2("/a/b", {f"{root}/a/cgroup.controllers": "memory", f"{root}/a/cgroup.procs": "7\n"})
    assert busy.home_of("memory") is None
    assert "Delegate=" in busy.lacking("memory")
    assert v2("/a/b", {}).home_of("memory") is None


def test_hybrid_and_containers() -> None:
    """An empty version 2 beside version 1 changes nothing; in a container paths are below the container's own root."""
    found = view_of(
        HYBRID, "4:memory:/\n0::/\n", {"/sys/fs/cgroup/unified/cgroup.controllers": "hugetlb"}.get
    )
    tree = found.home_of("memory")
    assert tree is not None
    assert (tree.version, len(found.hierarchies)) == (1, 1)
    inside = "30 24 0:26 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    tree = view_of(inside, "4:memory:/docker/x/y\n", lambda _: None).home_of("memory")
    assert tree is not None
    assert tree.base == "/sys/fs/cgroup/memory/y"


@given(st.text(max_size=300), st.text(max_size=200), st.none() | st.text(max_size=60))
def test_any_host_is_looked_at(mountinfo: str, own: str, text: str | None) -> None:
    """Whatever the files say, there is a view."""
    lines = [mountinfo, V1.replace("memory", mountinfo[:5]), V2]
    assert isinstance(view_of("\n".join(lines), own + "\n0::/x", lambda _: text), View)


def test_what_is_written() -> None:
    """Both versions, every limit; nothing where nothing is limited."""
    limits = Limits(
        memory_bytes=100, memory_swap_bytes=150, cpu_percent=250.0, cpu_shares=1024, pids=7, read_bps=(("8:0", 500),), write_bps=(("8:0", 600), ("8:16", 700))
    )  # fmt: skip
    both = {
        (name, version): writes(limits, name, version)
        for name in ("memory", "cpu", "pids", "io")
        for version in (1, 2)
    }
    assert both == {
        ("memory", 1): [("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "150")],
        ("memory", 2): [("memory.max", "100"), ("memory.swap.max", "50")],
        ("cpu", 1): [("cpu.shares", "1024"), ("cpu.cfs_period_us", "20000"), ("cpu.cfs_quota_us", "49800")],
        ("cpu", 2): [("cpu.weight", "39"), ("cpu.max", "49800 20000")],
        ("pids", 1): [("pids.max", "7")],
        ("pids", 2): [("pids.max", "7")],
        ("io", 1): [
            ("blkio.throttle.read_bps_device", "8:0 490"), ("blkio.throttle.write_bps_device", "8:0 588"), ("blkio.throttle.write_bps_device", "8:16 686"),
        ],
        ("io", 2): [("io.max", "8:0 rbps=490 wbps=588"), ("io.max", "8:16 rbps=max wbps=686")],
    }  # fmt: skip
    assert [
        writes(Limits(), name, version)
        for name in ("memory", "cpu", "pids", "io", "cpuacct")
        for version in (1, 2)
    ] == [[]] * 10


@given(st.floats(0.1, 100_000.0))
def test_a_quota_is_the_percentage(percent: float) -> None:
    """Never more than it, and never more in any window of 5 s; less by no more than that needs; in numbers the kernel takes."""
    quota, period = quota_of(percent)
    assert quota >= 1000
    assert percent * (0.975 if period < 1_000_000 else 0.999) - 0.01 <= 100.0 * quota / period <= percent
    if period < 1_000_000:
        assert quota * (5_000_000 // period + 1) <= percent / 100 * 5_000_000 + quota / 250


@pytest.mark.parametrize("percent", [0.0, -1.0, math.nan, math.inf, 0.01])
def test_no_quota(percent: float) -> None:
    """What the kernel cannot count is refused."""
    with pytest.raises(ValueError, match=r"percentage|below"):
        quota_of(percent)


@given(st.integers(-5, 10**9))
def test_weights_are_in_bounds(shares: int) -> None:
    """1 to 10000, and more shares never weigh less."""
    assert 1 <= weight_of(shares) <= weight_of(shares + 1) <= 10_000


@given(st.text(max_size=200))
def test_any_file_is_read(text: str) -> None:
    """Whatever a file holds, readings are numbers or nothing."""
    assert number(text) is None or number(text) >= 0  # type: ignore[operator]
    assert all(isinstance(value, int) for value in fields(text).values())
    for version in (0, 1, 2):
        assert isinstance(usage_of(lambda *_: text, lambda _, v=version: v), Usage)  # type: ignore[misc]
    assert isinstance(limit_shown("memory.max", text), str)


def test_usage_of_both_versions() -> None:
    """The same figures from the files of either."""
    one = {
        "memory.usage_in_bytes": "10\n", "memory.max_usage_in_bytes": "20\n", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        "cpu.stat": "nr_periods 5\nnr_throttled 4\nthrottled_time 2000000000\n", "cpuacct.usage": "1500000000\n",
        "pids.current": "6\n", "pids.events": "max 7\n",
    }  # fmt: skip
    two = {
        "memory.current": "10\n", "memory.peak": "20\n", "memory.events": "low 0\noom 3\noom_kill 3\n",
        "cpu.stat": "usage_usec 1500000\nnr_throttled 4\nthrottled_usec 2000000\n", "pids.current": "6\n", "pids.events": "max 7\n",
    }  # fmt: skip
    expected = Usage(
        memory_bytes=10,
        memory_peak_bytes=20,
        cpu_seconds=1.5,
        pids=6,
        oom_kills=3,
        throttled=4,
        throttled_seconds=2.0,
        refused_forks=7,
    )
    assert usage_of(lambda _, file: one.get(file), lambda _: 1) == expected
    assert usage_of(lambda _, file: two.get(file), lambda _: 2) == expected
    assert usage_of(lambda *_: None, lambda _: 0) == Usage()
    assert (
        limit_shown("memory.limit_in_bytes", "9223372036854771712\n"),
        limit_shown("cpu.cfs_quota_us", "-1\n"),
    ) == ("max", "max")
