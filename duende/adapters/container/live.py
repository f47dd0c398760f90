"""Limits of a container that runs: the body of Docker's `POST /containers/{id}/update`, and what its control group uses."""

from __future__ import annotations

from typing import Any

from duende.adapters.container.cgroup import Group
from duende.adapters.container.plan import cpu_of
from duende.config.model import DaemonConfig
from duende.errors import NotSupportedError
from duende.policy.cgroups.readings import Usage, usage_of

FIXED = ("io_read_bps", "io_write_bps")
"""Of `[resources]`: no runtime changes them while the container runs (Engine API v1.41, ContainerUpdate)."""


def update_body(config: DaemonConfig, before: DaemonConfig) -> dict[str, Any]:
    """The limits of *config* as the API takes them.

    Raises:
        NotSupportedError: a limit differs from *before* that cannot be changed.
        PlatformConfigError: the CPU quota is below what the kernel counts.
    """
    resources = config.resources
    for name in FIXED:
        if getattr(resources, name) != getattr(before.resources, name):
            raise NotSupportedError(
                "container",
                f"change resources.{name} of what runs",
                remedy="change the configuration and restart",
            )
    quota, period = cpu_of(config)
    return {
        "Memory": resources.memory_bytes,
        "MemorySwap": resources.memory_swap_bytes,
        "CpuPeriod": period,
        "CpuQuota": quota,
        "CpuShares": resources.cpu_shares,
        "PidsLimit": resources.pids_max,
    }


def used(group: Group) -> Usage:
    """What a control group uses, of either version."""

    def version(controller: str) -> int:
        return 1 if controller in group.folders else 2 if "" in group.folders else 0

    def read(controller: str, file: str) -> str | None:
        return group.read(controller, file, file)

    return usage_of(read, version)
