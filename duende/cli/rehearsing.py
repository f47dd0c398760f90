"""`duende rehearse`: would a daemon's profile of system calls end it?"""

from __future__ import annotations

import argparse

from duende.adapters.native.rehearsal import Rehearsal, rehearse
from duende.cli import exits, output
from duende.config import DaemonConfig
from duende.config.choosing import chosen
from duende.errors import ConfigError, PolicyViolationError
from duende.policy.security.profiles import calls_of

LONGEST = 3600.0
"""Seconds."""


def do_rehearse(options: argparse.Namespace) -> int:
    """Start the daemons of a file once, one after another, and name what their profiles forbid.

    Raises:
        ConfigError: the file has a mistake, or no daemon in it has its system calls filtered.
    """
    seconds = _seconds(options.seconds)
    configs = [config for config in chosen(options.file, options.name) if config.security.filters_calls]
    if not configs:
        raise ConfigError(
            f"no daemon of {options.file} has its system calls filtered: there is nothing to rehearse",
            remedy='set security.seccomp = "service" (or compute, network-service)',
        )
    found = {}
    for config in configs:
        if not options.json:
            print(
                f"{config.name}: running it for {seconds:g} s, and nothing is forbidden ...",
                flush=True,
            )
        found[config.name] = rehearse(config, seconds)
        if not options.json:
            print("\n".join(told(config, found[config.name])))
    good = not any(each.calls for each in found.values())
    if options.json:
        output.json({"ok": good, "result": found})
    return exits.OK if good else exits.FAILED


def refuse_forbidden(path: str, seconds: float) -> None:
    """Rehearse the daemons of *path* whose system calls are filtered.

    Raises:
        PolicyViolationError: the profile of one would end it, or fail it; the first missing call is named.
    """
    for config in chosen(path):
        if config.security.filters_calls and (seen := rehearse(config, _seconds(seconds))).calls:
            first, *rest = told(config, seen)
            remedy = next((line.strip() for line in reversed(rest) if "=" in line), "choose another profile")
            raise PolicyViolationError(f"nothing of {path} was deployed: {first}", remedy=remedy)


def _seconds(value: float) -> float:
    if not 0 < value <= LONGEST:
        raise ConfigError(
            f"{value:g} s is no time for a rehearsal", remedy=f"use more than 0, and at most {LONGEST:g}"
        )
    return value


def told(config: DaemonConfig, seen: Rehearsal) -> list[str]:
    """A rehearsal in words."""
    security = config.security
    profile = f"security.seccomp = {security.seccomp!r}" if security.seccomp else "its [security]"
    lines = []
    if seen.calls:
        first = next(iter(seen.calls))
        mild = security.seccomp_action == "errno" or first == "socket" or first in calls_of(security).shut
        what = "would have failed with EPERM" if mild else "would have ended it by SIGSYS"
        lines.append(
            f"{config.name}: {profile} forbids {len(seen.calls)} of its system calls; the first, {first}, {what}"
        )
        width = max(len(name) for name in seen.calls)
        lines += [f"  {name:<{width}}  {count} times" for name, count in seen.calls.items()]
        shut = calls_of(security)
        network = [name for name in seen.calls if name in shut.shut or (name == "socket" and shut.unix_only)]
        allowed = (*security.seccomp_allow, *(name for name in seen.calls if name not in network))
        if network:
            lines.append(
                f'  {" and ".join(network)}: it has no network; seccomp = "network-service" and network = true give it one'
            )
        if allowed != security.seccomp_allow:
            names = ", ".join(f'"{name}"' for name in allowed)
            lines.append(
                f"  to allow what is no network: seccomp_allow = [{names}]"
                if network
                else f"  to allow them: seccomp_allow = [{names}]"
            )
    else:
        lines.append(f"{config.name}: {profile} forbids nothing of what it did")
    if seen.ready_after is not None:
        lines.append(f"  it was ready after {seen.ready_after:.1f} s")
    if seen.exit:
        lines.append(f"  it ended before its time: {seen.exit}")
        lines += [f"  | {line}" for line in seen.words]
    return lines
