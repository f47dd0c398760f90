"""The settings of a `BlockServer`, checked."""

from __future__ import annotations

import msgspec

from duende.config.model import DaemonConfig
from duende.config.units import parse_size
from duende.errors import ConfigError
from duende.ublk.layout import MAX_QUEUE_DEPTH

BLOCK = 4096
LEAST_IO, MOST_IO = BLOCK, 1 << 25


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[settings]` of the daemon."""

    size: str | int
    path: str | None = None
    direct: bool = False
    """O_DIRECT: past the page cache."""
    queues: int = 1
    depth: int = 64
    device: int | None = None
    recovery: bool = False
    """After a crash the next instance goes on with the same device; requests that were under way are asked again."""
    clean: bool = True
    """Remove orphans first."""
    io_flusher: bool = True
    """PR_SET_IO_FLUSHER: needing memory, do not wait for input and output."""
    partitions: bool = False
    """Whether the kernel reads the partition table."""
    max_io: str | int = "512KiB"
    bytes: int = 0
    """`size`, read."""
    max_io_bytes: int = 0
    """`max_io`, read."""


def settings_of(config: DaemonConfig) -> Settings:
    """The settings of *config*.

    Raises:
        ConfigError: one is missing, unknown or of no use; the text names it.
    """
    try:
        found = msgspec.convert(dict(config.settings), Settings)
    except msgspec.ValidationError as error:
        known = ", ".join(each for each in Settings.__struct_fields__ if not each.endswith("bytes"))
        raise ConfigError(f"settings: {error}", remedy=f"known: {known}", key="settings") from error
    size, most = parse_size(found.size), parse_size(found.max_io)
    wrong = (
        (size < BLOCK or size % BLOCK != 0, "size", found.size, f"use a multiple of {BLOCK}"),
        (not 1 <= found.queues <= 64, "queues", found.queues, "use 1 to 64"),
        (not 1 <= found.depth < MAX_QUEUE_DEPTH, "depth", found.depth, f"use 1 to {MAX_QUEUE_DEPTH - 1}"),
        (
            found.device is not None and not 0 <= found.device < 1 << 20,
            "device",
            found.device,
            "use 0 or more",
        ),
        (
            found.recovery and found.device is None,
            "recovery",
            True,
            "say which device it is: settings.device",
        ),
        (
            found.recovery and found.path is None,
            "recovery",
            True,
            "keep the blocks in a file (settings.path): memory goes with the process",
        ),
        (
            not LEAST_IO <= most <= MOST_IO or most % BLOCK != 0,
            "max_io",
            found.max_io,
            f"use a multiple of {BLOCK} up to {MOST_IO}",
        ),
        (found.bytes or found.max_io_bytes, "bytes", found.bytes, "leave it out: say size and max_io"),
    )
    for is_wrong, key, value, remedy in wrong:
        if is_wrong:
            raise ConfigError(
                f"settings.{key} = {value!r} is of no use", remedy=remedy, key=f"settings.{key}"
            )
    return msgspec.structs.replace(found, bytes=size, max_io_bytes=most)
