"""Probes find what is there and say what is not, on machines made up here."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from falsification.kit import needs
from falsification.kit.needs import PROBES, Host
from falsification.kit.suite import DEFAULT_SUITE, Suite

BARE = Host(
    system="linux",
    machine="x86_64",
    uid=1000,
    which=lambda _: None,
    exists=lambda _: False,
    read=lambda _: "",
)
"""A Linux with nothing on it."""


def test_every_need_of_a_claim_has_a_probe() -> None:
    """A need nobody can find would keep its claims unattempted for ever."""
    text = Suite.read(DEFAULT_SUITE).claims_file.read_text(encoding="utf-8")
    asked = {name for table in tomllib.loads(text)["claim"] for name in table["needs"]}
    assert asked <= set(PROBES)


def test_a_bare_machine_has_little() -> None:
    """On it only what comes with the kernel and the processor is present, and each other need says its name."""
    present = {name for name in PROBES if not needs.missing([name], BARE)}
    assert present == {"linux", "x86_64", "simd", "ptrace"}
    for name in set(PROBES) - present:
        assert ": " in needs.missing([name], BARE)[0]


@pytest.mark.parametrize(
    ("need", "host"),
    [
        ("root", replace(BARE, uid=0)),
        ("macos", replace(BARE, system="darwin")),
        (
            "cgroup",
            replace(BARE, read=lambda path: "cpu memory pids" if path.endswith("cgroup.controllers") else ""),
        ),
        ("cgroup", replace(BARE, exists=lambda path: path == "/sys/fs/cgroup/memory/cgroup.procs")),
        ("avx512", replace(BARE, read=lambda _: "flags : avx2 avx512f avx512bw")),
        ("systemd", replace(BARE, exists=lambda path: path == "/run/systemd/system")),
        ("docker", replace(BARE, connects=lambda path: path == "/var/run/docker.sock")),
        (
            "docker",
            replace(BARE, uid=0, which=lambda name: f"/usr/sbin/{name}" if name == "dockerd" else None),
        ),
        ("gpu", replace(BARE, exists=lambda path: path == "/dev/nvidiactl")),
        ("redis-server", replace(BARE, which=lambda name: f"/usr/bin/{name}")),
    ],
)
def test_what_is_there_is_found(need: str, host: Host) -> None:
    """Each way to have a need is one."""
    assert needs.missing([need], host) == []


def test_an_unknown_name_is_a_program() -> None:
    """So an attempt may ask for any program without a probe."""
    assert needs.missing(["frobnicate"], BARE) == ["frobnicate: no such program on the path"]


def test_a_second_probe_is_refused() -> None:
    """Two probes of one name would hide one another."""
    with pytest.raises(ValueError, match="has a probe already"):
        needs.need("linux")(lambda _: "")
