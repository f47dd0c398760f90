"""Configuration: the values, their units, and reading them strictly."""

from __future__ import annotations

from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)

__all__ = [
    "DaemonConfig",
    "HealthCheckConfig",
    "LogDestination",
    "LoggingConfig",
    "PlatformSection",
    "ReadinessConfig",
    "ReadinessKind",
    "ResourceConfig",
    "RestartConfig",
    "RestartPolicy",
    "SecurityConfig",
]
