"""What Compose, Quadlet and Kubernetes have in common: the image, the command in it, and what none of them does."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from duende.adapters.container.settings import Settings, settings_of
from duende.adapters.native.ignored import BOUNDS
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, readiness_of
from duende.errors import PlatformConfigError
from duende.render.bundle import Bundle, bundle_of
from duende.render.written import Note


class Boxed(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon for a container."""

    image: str
    bundle: Bundle
    settings: Settings


def boxed(config: DaemonConfig, *, python: str | None = None) -> Boxed:
    """The image, command and files of *config*. The interpreter of a class is *python*, or platform.container.python.

    Raises:
        ConfigError: nothing says what to run.
        PlatformConfigError: no image is named, or a key of platform.container is of no use.
    """
    if not config.platform.container_image:
        raise PlatformConfigError(
            f"cannot render {config.name!r} for containers: no image is named",
            remedy='set platform.container_image = "name:tag"',
        )
    settings = settings_of(config)
    bundle = bundle_of(config, python=python or settings.python)
    return Boxed(image=config.platform.container_image, bundle=bundle, settings=settings)


def ignored(config: DaemonConfig) -> Iterator[tuple[str, str]]:
    """(dotted key, why) of what no engine of containers does, whether anybody asked for it or not."""
    yield "resources.address_space_bytes", "runtimes set no RLIMIT_AS"
    yield "resources.nice", "runtimes set no niceness"
    yield "security.umask", "runtimes set no umask"
    yield "health_check.watchdog", "no runtime keeps a watchdog"
    for key in BOUNDS:
        yield key, "containers have a network and a disk of their own, and no such limit of them"
    for key in ("security.seccomp", "security.seccomp_deny"):
        yield key, "it needs a profile in a file of its own on the machine that runs the container"
    yield "security.readable_paths", "a container sees its image and its volumes, and nothing else"
    if config.logging.path is not None:
        yield "logging.path", "a runtime keeps the output in a place of its own"
    if config.logging.destination is LogDestination.INHERIT:
        yield "logging.destination", "a runtime keeps the output itself"


def notes(config: DaemonConfig, engine: str) -> Iterator[Note]:
    """What *engine* does in its own way."""
    if config.daemon is not None:
        yield Note("daemon", "the image must have Python 3.11 or newer and duende (pip install duende)")
    if readiness_of(config) in (ReadinessKind.LOG_LINE, ReadinessKind.NOTIFY):
        yield Note("readiness.kind", f"{engine} does not hear it: it is started once it runs")
    if config.pid_file is not None:
        yield Note("pid_file", "none is written: the runtime knows the main process itself")


def added_capabilities(config: DaemonConfig) -> list[str]:
    """The capabilities it is given, that for locked memory among them."""
    names = [*config.security.add_capabilities]
    if config.resources.lock_memory and "IPC_LOCK" not in names:
        names.append("IPC_LOCK")
    return names


def refuse_device_limits(config: DaemonConfig, target: str) -> None:
    """Refuse limits of input and output: engines want the path of a device.

    Raises:
        PlatformConfigError: there are such limits.
    """
    if config.resources.io_read_bps or config.resources.io_write_bps:
        raise PlatformConfigError(
            f"cannot write the I/O limits of {config.name!r} as {target}: they need the path of the runtime's device, which is not known here",
            remedy="leave resources.io_read_bps and io_write_bps out",
        )
