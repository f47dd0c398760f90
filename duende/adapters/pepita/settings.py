"""`[platform.pepita]`: its keys, their defaults and what they must obey."""

from __future__ import annotations

import math

import msgspec

from duende.config.model import DaemonConfig
from duende.errors import PlatformConfigError

MIB = 1 << 20
STEP = 256
"""MiB: memory is rounded up to steps of that, so that few snapshots serve many daemons."""
OVERHEAD = 96
"""MiB for the guest's kernel and agent, beside what the daemon may use."""
LEAST = 96


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[platform.pepita]`."""

    vcpus: int | None = None
    """Virtual processors; absent: as many as `resources.cpu_quota_percent` can use."""
    memory_mb: int | None = None
    """MiB of the VM; absent: `resources.memory_bytes` and what the guest itself needs."""
    kernel_path: str | None = None
    rootfs_path: str | None = None
    """A root image; absent: pepita's own "tiny" for programs, "python" for a `Daemon` class."""
    vsock_base_port: int | None = None
    """First port of AF_VSOCK for the daemon (5000 by custom), told to it as PEPITA_VSOCK_PORT; absent: the VM has no vsock."""
    command: str = "pepita"
    """The program, by name or path."""
    files: tuple[str, ...] = ()
    """"/host/path:/path", files and folders that go in."""
    disks: tuple[str, ...] = ()
    """"/host/image:/path", ext4 images that outlive the VM; made when they are absent."""
    forward: tuple[str, ...] = ()
    """"/host/socket:/path" or "/host/socket:tcp:PORT", unix sockets on the host that lead into the guest."""
    copy_binary: bool = False
    """Take `binary_path` from this host, with the shared libraries it needs, instead of from the root image."""
    cold: bool = False
    """Boot instead of starting from a snapshot."""


def settings_of(config: DaemonConfig) -> Settings:
    """The pepita settings of *config*; those of `[platform]` stand in for absent ones.

    Raises:
        PlatformConfigError: a key is unknown or its value of no use; the text names it.
    """
    known = ", ".join(Settings.__struct_fields__)
    for key in config.platform.pepita:
        if key not in Settings.__struct_fields__:
            raise PlatformConfigError(
                f"cannot start {config.name!r}: platform.pepita.{key} is not known", remedy=f"known: {known}"
            )
    try:
        found = msgspec.convert(config.platform.pepita, Settings)
    except msgspec.ValidationError as error:
        raise PlatformConfigError(f"cannot start {config.name!r}: platform.pepita: {error}") from error
    for key, least, most in (
        ("vcpus", 1, 64),
        ("memory_mb", LEAST, 1 << 20),
        ("vsock_base_port", 1, 0xFFFFFFFE),
    ):
        value = getattr(found, key)
        if value is not None and not least <= value <= most:
            raise PlatformConfigError(
                f"cannot start {config.name!r}: platform.pepita.{key} = {value} is of no use",
                remedy=f"use {least} to {most}",
            )
    section = config.platform
    return msgspec.structs.replace(
        found,
        vcpus=found.vcpus if found.vcpus is not None else section.vcpus,
        kernel_path=found.kernel_path or section.kernel_path,
        rootfs_path=found.rootfs_path or section.rootfs_path,
    )


def vcpus_of(config: DaemonConfig, settings: Settings) -> int:
    """Virtual processors: what the quota can use, when nobody says."""
    return (
        settings.vcpus
        if settings.vcpus is not None
        else max(1, math.ceil(config.resources.cpu_quota_percent / 100))
    )


def memory_of(config: DaemonConfig, settings: Settings) -> int:
    """MiB of the VM."""
    if settings.memory_mb is not None:
        return settings.memory_mb
    wanted = math.ceil(config.resources.memory_bytes / MIB) + OVERHEAD
    return math.ceil(wanted / STEP) * STEP
