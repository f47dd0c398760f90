"""Quotas of folders where there are none, and the layouts that the kernel is asked with; real ones are in the attempt on F027."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from duende.adapters import bounds
from duende.adapters.contract import Found
from duende.config.model import DaemonConfig, ResourceConfig, SecurityConfig
from duende.errors import PlatformConfigError, PlatformResourceError
from duende.kernel import quota
from duende.policy import disk
from duende.policy.disk import LEAST, DiskQuota


def test_the_layouts_are_those_of_the_headers() -> None:
    """The layouts are those of the headers."""
    assert quota.FSXATTR.size == 28
    assert quota.DQBLK.size == 72


def test_what_has_no_quota_says_why(tmp_path: Path) -> None:
    """What has no quota says why."""
    with pytest.raises(PlatformResourceError, match=r"No such file.*resources.disk_folder"):
        DiskQuota(str(tmp_path / "absent"))
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PlatformResourceError, match="no folder"):
        DiskQuota(str(file))
    with pytest.raises(PlatformResourceError, match=f"use {LEAST} or more"):
        DiskQuota(str(tmp_path)).apply(LEAST - 1)
    with pytest.raises(PlatformResourceError, match=r"no quotas for folders.*btrfs, or ext4 or XFS"):
        DiskQuota("/proc").apply(LEAST)
    assert DiskQuota("/proc").shown() is None


class Kernel:
    """Project quotas of a file system that has them, in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuse: str = "") -> None:
        self.projects: dict[int, int] = {}
        self.limits: dict[int, int] = {}
        self.counted = 0
        monkeypatch.setattr(disk, "_btrfs", lambda _: "")
        monkeypatch.setattr(quota, "project_of", lambda _: self.projects.get(0, 0))
        monkeypatch.setattr(quota, "project_quota", lambda _, project: (self.limits.get(project, 0), 5))
        monkeypatch.setattr(quota, "limit_project", self._limit)
        monkeypatch.setattr(quota, "set_project", self._set)
        self.refuse = refuse

    def _limit(self, fd: int, project: int, most: int) -> None:
        if self.refuse:
            raise PermissionError(1, self.refuse)
        self.limits[project] = most

    def _set(self, fd: int, project: int, *, inherit: bool) -> None:
        self.counted += 1
        self.projects[0] = project


def test_a_folder_gets_a_project_of_its_own_with_all_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder gets a project of its own with all that is in it."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    kernel = Kernel(monkeypatch)
    made = DiskQuota(str(tmp_path))
    made.apply(1 << 20)
    (project,) = kernel.limits
    assert project & disk.OURS
    assert kernel.counted == 3, "the folder, the one below, and the file; not the link"
    assert made.shown() == (1 << 20, 5)
    made.apply(0)
    assert made.shown() == (0, 5)
    assert kernel.counted == 3, "counted once"


def test_a_number_that_has_a_quota_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that has a quota already is left alone."""
    kernel = Kernel(monkeypatch)
    kernel.limits[disk.OURS | tmp_path.stat().st_ino & (disk.OURS - 1)] = 9
    with pytest.raises(PlatformResourceError, match="somebody else's"):
        DiskQuota(str(tmp_path)).apply(1 << 20)


def test_who_may_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not is told."""
    Kernel(monkeypatch, refuse="no")
    with pytest.raises(PlatformResourceError, match=r"may not.*run as root"):
        DiskQuota(str(tmp_path)).apply(1 << 20)


def test_a_folder_with_too_much_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with too much in it is refused."""
    kernel = Kernel(monkeypatch)
    monkeypatch.setattr(disk, "FILES_MOST", 1)
    for name in "ab":
        (tmp_path / name).write_text("")
    with pytest.raises(PlatformResourceError, match="more than 1 files"):
        DiskQuota(str(tmp_path)).apply(1 << 20)
    assert not kernel.limits


def config(**fields: Any) -> DaemonConfig:
    """Config."""
    return DaemonConfig(name="web", binary_path="/bin/true", **fields)


def test_limits_need_a_place() -> None:
    """Limits need a place."""
    with pytest.raises(PlatformConfigError, match=r"disk_folder.*working_dir"):
        bounds.apply(config(resources=ResourceConfig(disk_bytes=LEAST)))
    with pytest.raises(PlatformConfigError, match="network_namespace"):
        bounds.apply(config(resources=ResourceConfig(network_bps=LEAST)))


def test_best_effort_goes_on_without(tmp_path: Path) -> None:
    """Best effort goes on without."""
    wanted = config(
        resources=ResourceConfig(disk_bytes=LEAST, disk_folder="/proc", network_bps=1 << 20),
        security=SecurityConfig(network_namespace="/nowhere/at/all"),
        best_effort=True,
    )
    bounds.apply(wanted)
    reports = list(bounds.explain(wanted))
    assert [report.outcome for report in reports] == [Found.IGNORED, Found.IGNORED]
    assert bounds.Usage().of("1", wanted) == {}
    bounds.apply(config(security=SecurityConfig(network_namespace="/nowhere/at/all")))
