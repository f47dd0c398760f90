"""Configuration: the values, their units, and reading them strictly."""

from __future__ import annotations

# `load` stays light: a daemon that reads no file must not pay for what reads one.
from duende.config.check import normalise, validate
from duende.config.load import Fleet, config_hash, decode_json, load, load_fleet, loads, read_env_file
from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    QualityConfig,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.config.show import as_json, to_toml

__all__ = [
    "DaemonConfig",
    "Fleet",
    "HealthCheckConfig",
    "LogDestination",
    "LoggingConfig",
    "PlatformSection",
    "QualityConfig",
    "ReadinessConfig",
    "ReadinessKind",
    "ResourceConfig",
    "RestartConfig",
    "RestartPolicy",
    "SecurityConfig",
    "as_json",
    "config_hash",
    "decode_json",
    "load",
    "load_fleet",
    "loads",
    "normalise",
    "read_env_file",
    "to_toml",
    "validate",
]


def __getattr__(name: str) -> object:
    """`as_json` and `to_toml` load what writes configurations on first use; starting a daemon writes none."""
    if name not in ("as_json", "to_toml"):
        raise AttributeError(f"module 'duende.config' has no attribute {name!r}")
    from duende.config import show

    return getattr(show, name)
