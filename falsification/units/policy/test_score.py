"""The exposure of a daemon: from all open to all shut, and never smaller for a door that was opened."""

from __future__ import annotations

import os
import shutil
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.cli.explaining import by_systemd, told
from duende.config.model import DaemonConfig, ResourceConfig, SecurityConfig
from duende.kernel.rlimits import INFINITY, soft_limits
from duende.policy.security.score import WEIGHTS, Exposure, exposure

SHUT = DaemonConfig(
    name="web",
    binary_path="/bin/sleep",
    user="nobody",
    resources=ResourceConfig(memory_bytes=1 << 20, pids_max=3),
    security=SecurityConfig(
        seccomp="compute",
        no_new_privileges=True,
        network=False,
        readable_paths=("/srv",),
        drop_capabilities=("ALL",),
    ),
)
KEYS = (
    "user", "security.seccomp", "security.no_new_privileges", "security.network", "security.readable_paths", "security.drop_capabilities",
    "resources.memory_bytes", "resources.pids_max", "resources.cpu_quota_percent",
)  # fmt: skip


def test_both_ends() -> None:
    """Nothing in force is ten, whatever was asked for; everything in force is what profiles and files leave."""
    assert exposure(SHUT, ()).total == 10.0
    assert exposure(SHUT, ()).word == "unsafe"
    shut = exposure(SHUT, KEYS)
    assert shut.total == pytest.approx(10 * (20 * 0.1 + 15 * 0.1) / 100, abs=0.06)
    assert shut.word == "safe"
    assert set(shut.doors) == set(WEIGHTS)


@given(st.sets(st.sampled_from(KEYS)), st.sampled_from(KEYS))
def test_what_is_in_force_never_exposes(keys: set[str], more: str) -> None:
    """One setting more cannot make it worse."""
    assert exposure(SHUT, keys | {more}).total <= exposure(SHUT, keys).total


@pytest.mark.parametrize(
    ("fields", "door", "part"),
    [
        ({"seccomp": "service"}, "system calls", 0.2),
        ({"seccomp": None, "seccomp_deny": ("mount",)}, "system calls", 0.8),
        ({"readable_paths": (), "read_only_root": True}, "files", 0.5),
        ({"network": True, "network_namespace": "/run/netns/a"}, "network", 0.5),
    ],
)
def test_doors_that_are_half_open(fields: dict[str, Any], door: str, part: float) -> None:
    """Each weaker measure counts for less."""
    config = msgspec.structs.replace(SHUT, security=msgspec.structs.replace(SHUT.security, **fields))
    keys = [
        f"security.{name}"
        for name, value in fields.items()
        if value not in (None, (), True) or name == "read_only_root"
    ]
    assert exposure(config, keys).doors[door] == part


def test_capabilities_of_another_user() -> None:
    """Without no_new_privileges it can get them by a set-user-id program; some may be given to it."""
    assert exposure(SHUT, ("user",)).doors["capabilities"] == 1.0
    assert exposure(SHUT, ("user", "security.no_new_privileges")).doors["capabilities"] == 0.0
    given_some = msgspec.structs.replace(
        SHUT,
        security=msgspec.structs.replace(SHUT.security, add_capabilities=("SYS_ADMIN", "NET_BIND_SERVICE")),
    )
    found = exposure(given_some, ("user", "security.no_new_privileges")).doors["capabilities"]
    assert found == pytest.approx(1 / 20)


def test_in_words() -> None:
    """The widest doors are named, the heaviest first."""
    lines = told(Exposure(total=5.0, doors={"files": 1.0, "user": 1.0, "network": 0.0}), 7.8)
    assert lines[0] == "exposure 5.0 of 10, medium; open: user, files"
    assert lines[1].startswith("systemd-analyze security says 7.8, exposed,")
    assert len(told(Exposure(total=0.0, doors={}), None)) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_is_asked_about_the_same_daemon() -> None:
    """Its number falls when more is shut."""
    plain = by_systemd(DaemonConfig(name="web", binary_path="/bin/sleep"))
    shut = by_systemd(
        msgspec.structs.replace(SHUT, security=msgspec.structs.replace(SHUT.security, read_only_root=True))
    )
    assert plain is not None
    assert shut is not None
    assert 0.0 <= shut < plain <= 10.0


def test_limits_of_a_process() -> None:
    """Read from its file, with no limit as the largest number; of nobody there are none."""
    found = soft_limits(os.getpid())
    assert found["Max open files"] > 0
    assert INFINITY in found.values()
    assert soft_limits(2**22 + 1) == {}
