"""Limits of a unit that runs: changed by SetUnitProperties (org.freedesktop.systemd1(5)), and what is used of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duende.adapters.systemd.facts import Facts
from duende.adapters.systemd.render import INFINITY, Property, limits_of
from duende.config.model import DaemonConfig
from duende.policy.cgroups.readings import Usage

BANDWIDTH = ("IOReadBandwidthMax", "IOWriteBandwidthMax")


def changeable(config: DaemonConfig, before: DaemonConfig, facts: Facts) -> list[Property]:
    """The properties of a control group; what setrlimit(2) and nice(2) set is the process's own, and stays. A limit that *before* had and
    *config* has not is set to nothing.
    """
    found = [
        each for each in limits_of(config, facts) if not each[0].startswith("Limit") and each[0] != "Nice"
    ]
    names = {name for name, _, _ in found}
    earlier = {name for name, _, _ in limits_of(before, facts)}
    return [*found, *((name, "a(st)", []) for name in BANDWIDTH if name in earlier - names)]


def usage_of(told: Mapping[str, Any]) -> Usage:
    """The usage in the properties of a service; what is not accounted for is the largest number there is."""

    def number(name: str) -> int | None:
        value = told.get(name)
        return value if isinstance(value, int) and value < INFINITY else None

    spent = number("CPUUsageNSec")
    return Usage(
        memory_bytes=number("MemoryCurrent"),
        pids=number("TasksCurrent"),
        cpu_seconds=None if spent is None else spent / 1e9,
    )
