"""Profiles of system calls in the terms of others, held against natively made filters: what one forbids no other lets through."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.container.confined import confined as container_confined
from duende.adapters.container.confined import handed_over
from duende.adapters.container.engine import Runtime
from duende.adapters.contract import Found
from duende.adapters.systemd.confining import confined, confining
from duende.config.model import DaemonConfig, SecurityConfig
from duende.errors import PlatformConfigError, PlatformIOError
from duende.kernel import seccomp
from duende.kernel.syscalls import X86_64
from duende.policy.security.oci import ARCHITECTURES, profile, profile_text
from duende.policy.security.profiles import PROFILES, filter_of

CALLS = st.sampled_from(sorted(X86_64))
SECURITY = st.builds(
    SecurityConfig,
    seccomp=st.sampled_from(sorted(PROFILES)),
    seccomp_allow=st.lists(CALLS, max_size=3).map(tuple),
    seccomp_deny=st.lists(CALLS, max_size=3).map(tuple),
    seccomp_action=st.sampled_from(["kill", "errno"]),
    network=st.booleans(),
)


def natively(security: SecurityConfig, name: str, argument: int) -> int:
    """What our own filter answers."""
    packed = filter_of(security, "x86_64")
    code = [struct.unpack_from("=HBBI", packed, at) for at in range(0, len(packed), 8)]
    return seccomp.run(code, "x86_64", X86_64[name], argument)


def by_oci(found: dict[str, Any], name: str, argument: int) -> str:
    """What a profile says of a call: the rule that fits, as libseccomp takes it."""
    for rule in found["syscalls"]:
        if name in rule["names"]:
            fits = True
            for arg in rule.get("args", ()):
                fits = (argument == arg["value"]) == (arg["op"] == "SCMP_CMP_EQ")
            if fits:
                return str(rule["action"])
    return str(found["defaultAction"])


@given(SECURITY, CALLS, st.sampled_from([1, 2, 10, 16]))
def test_a_runtimes_profile_answers_as_our_filter_does(
    security: SecurityConfig, name: str, argument: int
) -> None:
    """Allowed, failed and killed alike, for every call and family of sockets."""
    answer = {
        seccomp.SECCOMP_RET_ALLOW: "SCMP_ACT_ALLOW",
        seccomp.SECCOMP_RET_ERRNO | seccomp.EPERM: "SCMP_ACT_ERRNO",
        seccomp.SECCOMP_RET_KILL_PROCESS: "SCMP_ACT_KILL_PROCESS",
    }[natively(security, name, argument)]
    assert by_oci(profile(security, ARCHITECTURES[0]), name, argument) == answer


@given(SECURITY, CALLS)
def test_systemd_is_told_of_no_call_that_our_filter_forbids(security: SecurityConfig, name: str) -> None:
    """Its list has what is allowed, and nothing else."""
    told = {key: value for key, _, value in confining(config(security), user=False)}
    is_list, names = told["SystemCallFilter"]
    assert is_list
    if name != "socket":
        allowed = natively(security, name, 0) == seccomp.SECCOMP_RET_ALLOW
        assert (name in names) == allowed
    assert ("SystemCallErrorNumber" in told) == (security.seccomp_action == "errno")
    assert ("RestrictAddressFamilies" in told) == (
        not (security.network and security.seccomp == "network-service")
    )


def config(security: SecurityConfig) -> DaemonConfig:
    """A daemon that is confined so."""
    return DaemonConfig(name="web", binary_path="/bin/true", security=security)


def test_what_else_systemd_is_told() -> None:
    """A deny-list, no network, a namespace; a user's systemd makes none."""
    denied = confining(config(SecurityConfig(seccomp_deny=("mount", "bpf"), network=False)), user=True)
    io_uring = [f"io_uring_{each}:EPERM" for each in ("enter", "register", "setup")]
    assert denied[0] == ("SystemCallFilter", "(bas)", [False, ["bpf", "mount", *io_uring]])
    assert "PrivateNetwork" not in [name for name, _, _ in denied]
    off = confining(config(SecurityConfig(network=False)), user=False)
    assert ("PrivateNetwork", "b", True) in off
    inside = confining(config(SecurityConfig(network_namespace="/run/netns/a")), user=False)
    assert inside == [("NetworkNamespacePath", "s", "/run/netns/a")]
    assert confining(config(SecurityConfig()), user=False) == []
    with pytest.raises(PlatformConfigError, match="did you mean 'mount'"):
        confining(config(SecurityConfig(seccomp_deny=("mounts",))), user=False)


def test_what_systemd_did_not_do_is_noticed() -> None:
    """A filter that is missing, wider than asked for, or narrower; a network that is still there."""
    wanted = config(
        SecurityConfig(seccomp="compute", seccomp_deny=("mount",), network=False, network_namespace="/n")
    )
    names = next(value[1] for key, _, value in confining(wanted, user=False) if key == "SystemCallFilter")
    right = {
        "SystemCallFilter": (True, names),
        "RestrictAddressFamilies": (True, ["AF_UNIX"]),
        "NetworkNamespacePath": "/n",
    }

    def told(**changed: Any) -> dict[str, Found]:
        fields = {"Seccomp": changed.pop("Seccomp", "2")}
        return {each.key: each.outcome for each in confined(wanted, {**right, **changed}, fields)}

    assert set(told().values()) == {Found.HONOURED}
    assert told(SystemCallFilter=(True, names[1:]))["security.seccomp"] is Found.APPROXIMATED
    wide = told(SystemCallFilter=(True, [*names, "mount"]))
    assert wide["security.seccomp"] is wide["security.seccomp_deny"] is Found.IGNORED
    assert told(SystemCallFilter=None)["security.seccomp"] is Found.IGNORED
    assert told(Seccomp="0")["security.network"] is Found.IGNORED
    assert told(RestrictAddressFamilies=(False, []))["security.network"] is Found.IGNORED
    assert told(NetworkNamespacePath="")["security.network_namespace"] is Found.IGNORED


def test_what_runtimes_are_handed(tmp_path: Path) -> None:
    """Docker takes the text, the others a file; without a profile they take nothing."""
    wanted = config(SecurityConfig(seccomp="service"))
    path = str(tmp_path / "below" / "profile.json")
    text = handed_over(wanted, Runtime.DOCKER, path)
    assert json.loads(text)["defaultAction"] == "SCMP_ACT_KILL_PROCESS"
    assert handed_over(wanted, Runtime.PODMAN, path) == path
    assert Path(path).read_text(encoding="ascii") == text
    assert handed_over(config(SecurityConfig()), Runtime.DOCKER, path) == ""
    with pytest.raises(PlatformIOError, match="profile of 'web'"):
        handed_over(wanted, Runtime.CONTAINERD, f"{path}/inside/a/file")


def test_what_a_runtime_did_not_do_is_noticed(tmp_path: Path) -> None:
    """Another profile, none at all, one that nobody tells; a network that is still there."""
    wanted = config(SecurityConfig(seccomp="service", network=False))
    text = profile_text(wanted.security, "x86_64")

    def told(option: str | None, mode: str = "none", status: str = "2") -> dict[str, Found]:
        answer = {"HostConfig": {"NetworkMode": mode, "SecurityOpt": [option] if option else None}}
        reports = container_confined(wanted, answer, {"Seccomp": status} if status else {})
        return {each.key: each.outcome for each in reports}

    assert set(told(f"seccomp={text}").values()) == {Found.HONOURED}
    spaced = json.dumps(json.loads(text), indent=1)
    assert told(f"seccomp={spaced}")["security.seccomp"] is Found.HONOURED
    other = profile_text(SecurityConfig(seccomp="compute"), "x86_64")
    assert told(f"seccomp={other}")["security.seccomp"] is Found.IGNORED
    assert told("seccomp={nonsense")["security.seccomp"] is Found.IGNORED
    file = tmp_path / "profile.json"
    file.write_text(text, encoding="ascii")
    assert told(f"seccomp={file}")["security.seccomp"] is Found.HONOURED
    assert told("seccomp=/nowhere")["security.seccomp"] is Found.APPROXIMATED
    assert told(None)["security.seccomp"] is Found.APPROXIMATED
    assert told(None, status="0")["security.seccomp"] is Found.IGNORED
    assert told(None, mode="host")["security.network"] is Found.IGNORED
