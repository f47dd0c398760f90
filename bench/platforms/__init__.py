"""The platforms whose calls are compared, one module each: the same call through the adapter, the raw API, a library, the command line."""

from __future__ import annotations

from bench.platforms.base import Platform
from bench.platforms.docker import DockerCalls
from bench.platforms.systemd import SystemdCalls

PLATFORMS: tuple[type[Platform], ...] = (DockerCalls, SystemdCalls)

__all__ = ["PLATFORMS", "Platform"]
