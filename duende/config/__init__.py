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
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from duende.config.show import as_json, to_toml

__all__ = [
    "DaemonConfig",
    "Fleet",
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
