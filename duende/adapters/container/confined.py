"""`[security]` of a container beyond what runtimes do by default: its own filter of system calls, no network; written, and read back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from duende.adapters.container.engine import Runtime
from duende.adapters.contract import Found, SettingReport
from duende.config.model import DaemonConfig
from duende.errors import PlatformIOError


def handed_over(config: DaemonConfig, runtime: Runtime, path: str) -> str:
    """What *runtime* is told of the filter: the profile itself (Docker), or *path*, where it is written for it; empty without one.

    Raises:
        PlatformConfigError: a system call is not known.
        PlatformIOError: the file cannot be written.
    """
    if config.security.seccomp is None:
        return ""
    text = _wanted(config)
    if runtime is Runtime.DOCKER:
        return text
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise PlatformIOError(
            f"cannot write the seccomp profile of {config.name!r}: {path}: {error.strerror}",
            remedy="choose another runtime folder",
        ) from error
    return path


def confined(config: DaemonConfig, answer: dict[str, Any], fields: dict[str, str]) -> Iterator[SettingReport]:
    """The filter and the network as the runtime (*answer*, its inspect) and the process (*fields* of its status) have them."""
    security = config.security
    if security.seccomp is not None:
        for key, wanted in (
            ("seccomp", security.seccomp),
            ("seccomp_allow", " ".join(security.seccomp_allow)),
            ("seccomp_deny", " ".join(security.seccomp_deny)),
        ):
            if wanted:
                yield _filtered(key, wanted, config, answer, fields)
    if not security.network:
        host = answer.get("HostConfig") or {}
        mode = str(host.get("NetworkMode") or "")
        right = mode == "none"
        yield SettingReport(
            key="security.network",
            wanted="off",
            found=mode,
            outcome=Found.HONOURED if right else Found.IGNORED,
            why="NetworkMode of the container: it has lo and nothing else, so socket(2) succeeds and nobody can be reached",
        )


def _filtered(
    key: str, wanted: str, config: DaemonConfig, answer: dict[str, Any], fields: dict[str, str]
) -> SettingReport:
    text = _wanted(config)
    told = _profile_told(answer)
    if fields and fields.get("Seccomp") != "2":
        outcome, found, why = Found.IGNORED, "no filter", "Seccomp in the status of the process"
    elif told is None:
        outcome, found = Found.APPROXIMATED, "a filter"
        why = "the process has a filter; which, this runtime does not tell"
    else:
        same = _plain(told) == _plain(text)
        outcome = Found.HONOURED if same else Found.IGNORED
        found = "the profile" if same else "another profile"
        why = "SecurityOpt of the container, and Seccomp in the status of its process"
    return SettingReport(key=f"security.{key}", wanted=wanted, found=found, outcome=outcome, why=why)


def _wanted(config: DaemonConfig) -> str:
    from duende.policy.security.oci import profile_text  # the tables of calls: most daemons have no profile

    return profile_text(config.security, os.uname().machine)


def _profile_told(answer: dict[str, Any]) -> str | None:
    """The profile that a runtime says the container has: its text, or that of the file it was given; None where it says nothing."""
    host = answer.get("HostConfig") or {}
    for option in host.get("SecurityOpt") or ():
        name, _, value = str(option).partition("=")
        if name != "seccomp":
            continue
        if value.startswith("{"):
            return value
        try:
            with open(value, encoding="ascii") as file:
                return file.read()
        except OSError:
            return None
    return None


def _plain(text: str) -> Any:
    """A profile without what may be written in more than one way."""
    try:
        found = msgspec.json.decode(text)
        rules = [
            (
                sorted(rule.get("names") or ()),
                rule.get("action"),
                rule.get("errnoRet"),
                [(arg.get("index"), arg.get("value"), arg.get("op")) for arg in rule.get("args") or ()],
            )
            for rule in found.get("syscalls") or ()
        ]
        return found.get("defaultAction"), found.get("architectures"), sorted(rules, key=repr)
    except (msgspec.DecodeError, AttributeError, TypeError):
        return text  # none at all
