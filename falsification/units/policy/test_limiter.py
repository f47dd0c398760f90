"""The limiter on a tree of files that stands for the kernel's: order, errors, and nothing left behind. Real groups are in the attempts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.native import groups
from duende.config.model import DaemonConfig, ResourceConfig
from duende.errors import ConfigError, PlatformResourceError
from duende.manager.limiting import changed
from duende.policy.cgroups.readings import Usage, stalled
from duende.policy.cgroups.view import Hierarchy, View
from duende.policy.cgroups.writes import Limits
from duende.policy.limiter import ResourceLimiter


def tree(folder: Path, version: int, *controllers: str) -> View:
    """A view of one tree in *folder*."""
    folder.mkdir(exist_ok=True)
    (folder / "cgroup.subtree_control").write_text("")
    made = Hierarchy(version=version, controllers=frozenset(controllers), base=str(folder))
    return View(hierarchies=(made,), why_not="this is a test")


def test_a_group_is_made_changed_and_shown(tmp_path: Path) -> None:
    """Files have what was asked for, controllers are handed down, and memory that grows is written after memory plus swap."""
    limiter = ResourceLimiter(
        "g", Limits(memory_bytes=100, pids=5), view=tree(tmp_path / "t", 2, "memory", "pids")
    )
    assert (limiter.exists, limiter.missing()) == (False, {})
    limiter.apply()
    assert (tmp_path / "t" / "cgroup.subtree_control").read_text() in ("+memory", "+pids")
    assert limiter.shown() == {"memory.max": ("100", "100"), "pids.max": ("5", "5")}
    limiter.apply(Limits(memory_bytes=200, pids=6))
    assert (tmp_path / "t" / "g" / "memory.max").read_text() == "200"
    old = ResourceLimiter(
        "g", Limits(memory_bytes=100, memory_swap_bytes=100), view=tree(tmp_path / "o", 1, "memory")
    )
    os.mkdir(tmp_path / "o" / "g")
    (tmp_path / "o" / "g" / "memory.memsw.limit_in_bytes").write_text("100")
    old.apply()
    old.limits = Limits(memory_bytes=200, memory_swap_bytes=200)
    home = old._trees()["memory"]
    assert [file for file, _ in old._ordered("memory", home)] == [
        "memory.memsw.limit_in_bytes",
        "memory.limit_in_bytes",
    ]


def test_what_cannot_be_enforced(tmp_path: Path) -> None:
    """One error that says what is missing; what was begun is gone; loose controllers are left out."""
    view = tree(tmp_path / "t", 2, "pids")
    limiter = ResourceLimiter("g", Limits(memory_bytes=100, pids=5), view=view)
    with pytest.raises(
        PlatformResourceError, match="controller memory is not to be had here: this is a test"
    ) as told:
        limiter.apply()
    assert "best_effort" in told.value.remedy
    assert not limiter.exists
    limiter.apply(loose=["memory"])
    assert limiter.shown() == {"pids.max": ("5", "5")}
    for name in ("", "a/b", "..", "a\nb"):
        with pytest.raises(PlatformResourceError, match="no name"):
            ResourceLimiter(name, view=view)
    for pid in (-1, 1):
        with pytest.raises(PlatformResourceError, match="no daemon"):
            limiter.add(pid)
    broken = ResourceLimiter("h", Limits(cpu_percent=-1.0), view=tree(tmp_path / "u", 2, "cpu"))
    with pytest.raises(PlatformResourceError, match="percentage"):
        broken.apply()
    assert not broken.exists
    nowhere = ResourceLimiter("g", Limits(pids=5), view=tree(tmp_path / "v", 2, "pids"))
    (tmp_path / "v" / "cgroup.subtree_control").unlink()
    os.rmdir(tmp_path / "v")
    with pytest.raises(PlatformResourceError, match="cannot write"):
        nowhere.apply()


def test_who_asks_for_a_group() -> None:
    """Defaults do not; every limit that is not a default does."""
    assert groups.asks(DaemonConfig(name="a", binary_path="/a")) == set()
    asked = {
        "memory": ResourceConfig(memory_bytes=1 << 20), "cpu": ResourceConfig(cpu_quota_percent=50.0), "pids": ResourceConfig(pids_max=5),
        "io": ResourceConfig(io_read_bps=5),
    }  # fmt: skip
    for controller, resources in asked.items():
        assert groups.asks(DaemonConfig(name="a", binary_path="/a", resources=resources)) == {controller}


def test_numbers_that_make_no_sense_here(tmp_path: Path) -> None:
    """More cores than there are, a device that is none: one error each."""
    many = ResourceConfig(cpu_quota_percent=100.0 * ((os.cpu_count() or 1) + 1))
    with pytest.raises(PlatformResourceError, match="this machine has"):
        groups.limits_of(DaemonConfig(name="a", binary_path="/a", resources=many))
    for device, said in ((str(tmp_path), "no block device"), ("/dev/nothing", "No such file")):
        resources = ResourceConfig(io_read_bps=5, io_devices=(device,))
        with pytest.raises(PlatformResourceError, match=said):
            groups.limits_of(DaemonConfig(name="a", binary_path="/a", resources=resources))
    with pytest.raises(PlatformResourceError, match="cannot limit I/O"):
        groups.limits_of(
            DaemonConfig(
                name="a", binary_path="/a", working_dir="/proc", resources=ResourceConfig(io_read_bps=5)
            )
        )


def test_limits_in_words() -> None:
    """Sizes, percentages and counts; a mistake is told with its name."""
    config = DaemonConfig(name="a", binary_path="/a")
    found = changed(config, {"memory": "2GiB", "cpu": "50%", "pids": "7", "cpu_shares": "5"}).resources
    assert (found.memory_bytes, found.cpu_quota_percent, found.pids_max, found.cpu_shares) == (
        2 << 30,
        50.0,
        7,
        5,
    )
    assert found.memory_swap_bytes == 2 << 30
    for values, said in (
        ({"ram": "1"}, "no limit 'ram'"), ({"cpu": "much"}, "cpu = 'much'"), ({"memory": "-1"}, "memory"), ({"pids": "0"}, "pids"), ({"cpu": "nan"}, "cpu"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            changed(config, values)


def test_a_group_is_frozen(tmp_path: Path) -> None:
    """By cgroup.freeze of version 2, and by the freezer of version 1; where there is neither, or it takes too long, that is said."""
    limiter = ResourceLimiter("g", Limits(pids=5), view=tree(tmp_path / "t", 2, "pids"))
    with pytest.raises(PlatformResourceError, match="cannot freeze 'g'"):
        limiter.freeze()
    limiter.apply()
    events = tmp_path / "t" / "g" / "cgroup.events"
    events.write_text("populated 1\nfrozen 1\n")
    limiter.freeze()
    assert (tmp_path / "t" / "g" / "cgroup.freeze").read_text() == "1"
    events.write_text("populated 1\nfrozen 0\n")
    limiter.thaw()
    assert (tmp_path / "t" / "g" / "cgroup.freeze").read_text() == "0"
    old = ResourceLimiter(
        "h", Limits(pids=5), view=tree(tmp_path / "o", 1, "pids", "freezer"), freezable=True
    )
    old.apply()
    old.freeze()
    assert (tmp_path / "o" / "h" / "freezer.state").read_text() == "FROZEN"
    old.thaw()
    assert (tmp_path / "o" / "h" / "freezer.state").read_text() == "THAWED"


def test_a_freeze_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs in the kernel is not frozen."""
    monkeypatch.setattr("duende.policy.limiter.FROZEN_WITHIN", 0.0)
    limiter = ResourceLimiter("g", Limits(pids=5), view=tree(tmp_path / "t", 2, "pids"))
    limiter.apply()
    (tmp_path / "t" / "g" / "cgroup.events").write_text("frozen 0\n")
    with pytest.raises(PlatformResourceError, match="not frozen within 0 s"):
        limiter.freeze()


def test_pressure_is_told_once_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group whose processes wait for memory most of the time is an alert; a minute passes before the next."""
    told: list[str] = []
    watch = groups.Groups(str(tmp_path), lambda event: told.append(event.detail))
    clock = iter(float(number) for number in range(100))
    monkeypatch.setattr("duende.adapters.native.groups.time.monotonic", lambda: next(clock))
    before, now = Usage(memory_stalled=1.0, io_stalled=1.0), Usage(memory_stalled=1.9, io_stalled=1.1)
    assert list(watch._waits("d", before, now, 1.0)) == ["memory: processes waited for it 90% of the time"]
    assert list(watch._waits("d", before, now, 1.0)) == []
    assert list(watch._waits("d", Usage(), now, 1.0)) == []


@given(st.text())
def test_pressure_is_read_from_any_text(text: str) -> None:
    """A number of seconds, or nothing."""
    assert stalled(text) is None or stalled(text) >= 0.0  # type: ignore[operator]
    assert stalled("full total=5\nsome avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n") == 2.5
