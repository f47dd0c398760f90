"""Filters without a kernel: every call is answered as the profile says. And what becomes of a configuration."""

from __future__ import annotations

import itertools
import os
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config import loads
from duende.config.model import SecurityConfig
from duende.errors import ConfigError, PlatformConfigError
from duende.kernel import landlock, seccomp
from duende.kernel.syscalls import ARM64, X86_64
from duende.policy.security.groups import GROUPS
from duende.policy.security.profiles import (
    PROFILES,
    confinement,
    dropped_capabilities,
    filter_of,
    kept_capabilities,
)

KILL, ALLOW, FAIL = (
    seccomp.SECCOMP_RET_KILL_PROCESS,
    seccomp.SECCOMP_RET_ALLOW,
    seccomp.SECCOMP_RET_ERRNO | seccomp.EPERM,
)
MACHINES = st.sampled_from(["x86_64", "aarch64"])


@given(
    st.sets(st.integers(0, 500), max_size=300),
    st.sets(st.integers(0, 500), max_size=9),
    MACHINES,
    st.sampled_from([KILL, FAIL]),
)
def test_a_filter_answers_as_its_lists(
    allowed: set[int], refused: set[int], machine: str, otherwise: int
) -> None:
    """Every number, also beyond the tables and of another calling convention, gets the action of the list it is in."""
    code = seccomp.program(allowed, machine=machine, refused=refused, otherwise=otherwise)
    assert len(code) <= seccomp.LONGEST
    for number in range(520):
        expected = FAIL if number in refused else ALLOW if number in allowed else otherwise
        assert seccomp.run(code, machine, number) == expected
    assert seccomp.run(code, machine, seccomp.X32_BIT | 1) == KILL
    other = "aarch64" if machine == "x86_64" else "x86_64"
    assert seccomp.run(code, other, next(iter(allowed), 0)) == KILL
    assert len(seccomp.pack(code)) == 8 * len(code)


@given(st.sets(st.integers(0, 500), max_size=300), st.integers(0, 500), st.integers(0, 50))
def test_sockets_of_this_machine_alone(allowed: set[int], socket: int, family: int) -> None:
    """With unix_only socket(2) is decided by its family; every other call is as without."""
    code = seccomp.program(allowed | {socket}, machine="x86_64", unix_only=socket)
    assert seccomp.run(code, "x86_64", socket, family) == (ALLOW if family == seccomp.AF_UNIX else FAIL)
    for number in range(0, 500, 7):
        if number != socket:
            assert seccomp.run(code, "x86_64", number, family) == (ALLOW if number in allowed else KILL)


FORBIDDEN = ("ptrace", "mount", "umount2", "kexec_load", "init_module", "bpf", "reboot", "settimeofday", "clock_settime", "swapon", "process_vm_readv",
    "add_key", "perf_event_open", "pivot_root", "unshare", "setns", "userfaultfd", "open_by_handle_at")  # fmt: skip


def answers(security: SecurityConfig, machine: str, table: dict[str, int]) -> dict[str, int]:
    """What the filter does with each call by name, sockets being of the internet."""
    packed = filter_of(security, machine)
    code = [struct.unpack("=HBBI", packed[at : at + 8]) for at in range(0, len(packed), 8)]
    return {name: seccomp.run(code, machine, number, 2) for name, number in table.items()}


@pytest.mark.parametrize(("machine", "table"), [("x86_64", X86_64), ("aarch64", ARM64)])
@pytest.mark.parametrize("name", PROFILES)
def test_what_profiles_never_allow(name: str, machine: str, table: dict[str, int]) -> None:
    """None traces, mounts, loads modules, reboots, sets the clock; all can start, compute and end."""
    found = answers(SecurityConfig(seccomp=name), machine, table)
    assert {call: found[call] for call in FORBIDDEN if call in found and found[call] != KILL} == {}
    assert all(
        found[call] == ALLOW
        for call in ("execve", "read", "write", "mmap", "exit_group", "clone", "futex", "openat")
    )
    assert found["socket"] == (ALLOW if name == "network-service" else FAIL)
    assert (found["io_uring_setup"] == FAIL) == (name != "network-service")


def test_allow_deny_and_action() -> None:
    """More, less, and failing instead of killing; without a profile only what is denied."""
    base: dict[str, Any] = {"seccomp": "compute", "seccomp_allow": ("ptrace",), "seccomp_deny": ("read",)}
    found = answers(SecurityConfig(**base), "x86_64", X86_64)
    assert (found["ptrace"], found["read"], found["mount"]) == (ALLOW, KILL, KILL)
    found = answers(SecurityConfig(**base, seccomp_action="errno"), "x86_64", X86_64)
    assert (found["ptrace"], found["read"], found["mount"]) == (ALLOW, FAIL, FAIL)
    found = answers(SecurityConfig(seccomp_deny=("mount",)), "x86_64", X86_64)
    assert (found["mount"], found["ptrace"], found["socket"]) == (KILL, ALLOW, ALLOW)
    found = answers(SecurityConfig(network=False), "x86_64", X86_64)
    assert (found["mount"], found["socket"], found["io_uring_setup"]) == (ALLOW, FAIL, FAIL)
    assert filter_of(SecurityConfig(), "x86_64") == b""


def test_mistakes() -> None:
    """One error each: no such call (with the nearest), no such machine, no such profile or action, a relative path."""
    with pytest.raises(PlatformConfigError, match="no system call 'ptrac'") as told:
        filter_of(SecurityConfig(seccomp_deny=("ptrac",)), "x86_64")
    assert "ptrace" in told.value.remedy
    with pytest.raises(PlatformConfigError, match="riscv64"):
        filter_of(SecurityConfig(seccomp="service"), "riscv64")
    for line, said in (
        ('seccomp = "all"', "compute, service"), ('seccomp_action = "warn"', "kill or errno"), ('readable_paths = ["etc"]', "absolute"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            loads(f'name = "a"\nbinary_path = "/a"\n[security]\n{line}\n')


def test_capabilities_in_bits() -> None:
    """What is dropped and what is kept is everything, and nothing is both."""
    cases: list[tuple[dict[str, Any], int]] = [
        ({"drop_capabilities": ("ALL",)}, 0),
        ({"drop_capabilities": ("ALL",), "add_capabilities": ("CHOWN", "NET_BIND_SERVICE")}, 1 | 1 << 10),
        ({"drop_capabilities": ("CHOWN",)}, (1 << 41) - 2),
    ]
    for fields, kept in cases:
        security = SecurityConfig(**fields)
        assert kept_capabilities(security) == kept
        assert kept_capabilities(security) ^ dropped_capabilities(security) == (1 << 41) - 1


def test_what_travels_to_the_child() -> None:
    """Only what was asked for; paths of the system come along where files are confined."""
    assert confinement(SecurityConfig()) == {}
    found = confinement(
        SecurityConfig(readable_paths=("/srv",), writable_paths=("/var/lib/x",)), ("/opt/x",), ("/run/d",)
    )
    assert {"/usr", "/opt/x", "/srv"} <= set(found["readable"])
    assert {"/dev/null", "/run/d", "/var/lib/x"} <= set(found["writable"])
    assert set(confinement(SecurityConfig(seccomp="compute", drop_capabilities=("ALL",)))) == {
        "filter",
        "capabilities",
    }


def test_groups_are_of_known_calls() -> None:
    """Every name is a call of one machine or the other; rights of landlock grow with its version."""
    known = {*X86_64, *ARM64}
    assert {name for names in GROUPS.values() for name in names} <= known
    assert (X86_64["execve"], ARM64["execve"], X86_64["clone3"], ARM64["clone3"]) == (59, 221, 435, 435)
    rights = [landlock.handled(version) for version in range(1, 8)]
    assert all(later & earlier == earlier for earlier, later in itertools.pairwise(rights))
    assert landlock.version() >= 0
    assert os.uname().machine not in seccomp.NR_SECCOMP or seccomp.AUDIT_ARCH[os.uname().machine]
