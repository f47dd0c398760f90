"""`[platform.container]`: its keys, their defaults and what they must obey."""

from __future__ import annotations

import re

import msgspec

from duende.config.model import DaemonConfig
from duende.errors import PlatformConfigError

NETWORK = "host"
"""The default network. The same daemon then answers on the same ports as natively, and `port` checks, which look at loopback, mean the
same on every platform. "none" takes the network away, "bridge" and named networks are the runtime's, with `ports`."""
PULL = ("never", "missing")
_PORT = re.compile(r"(?:(?P<ip>[0-9.]+):)?(?P<host>\d{1,5}):(?P<inside>\d{1,5})(?:/(?P<protocol>tcp|udp))?")
_VOLUME = re.compile(r"(?P<source>[^:]+):(?P<target>/[^:]*)(?::(?P<mode>ro|rw))?")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[platform.container]`."""

    network: str = NETWORK
    """host, none, bridge, or the name of one of the runtime's networks."""
    ports: tuple[str, ...] = ()
    """"8080:80", "127.0.0.1:8080:80/tcp": host port to port inside, on a network of its own."""
    volumes: tuple[str, ...] = ()
    """"/host/path:/path", "name:/path:ro": host folders, or the runtime's named volumes."""
    init: bool | None = None
    """A small init as process 1, which reaps orphans and gives signals their default effect (pid_namespaces(7)). Absent: for programs
    where the runtime has one, for a `Daemon` class not, as it handles its signals itself."""
    runtime: str | None = None
    """The OCI runtime (runc, crun, ...) by the name that the engine knows it under."""
    pull: str = "never"
    """"missing" fetches an absent image from its registry, "never" refuses: a restart then fetches nothing nobody asked for."""
    mount_source: bool = True
    """A `Daemon` class: mount duende, msgspec and the class's folder read-only into the container. False where the image has them."""
    python: str = "python3"
    """The interpreter in the image, 3.11 or newer; with `mount_source` of the same minor version as the adapter's own."""


def settings_of(config: DaemonConfig) -> Settings:
    """The container settings of *config*.

    Raises:
        PlatformConfigError: a key is unknown or its value of no use; the text names it.
    """
    known = ", ".join(Settings.__struct_fields__)
    for key in config.platform.container:
        if key not in Settings.__struct_fields__:
            raise PlatformConfigError(
                f"cannot start {config.name!r}: platform.container.{key} is not known",
                remedy=f"known: {known}",
            )
    try:
        found = msgspec.convert(config.platform.container, Settings)
    except msgspec.ValidationError as error:
        raise PlatformConfigError(f"cannot start {config.name!r}: platform.container: {error}") from error
    if found.pull not in PULL:
        raise _wrong(config, "pull", found.pull, f"use one of {', '.join(PULL)}")
    for key in ("network", "python"):
        if not getattr(found, key):
            raise _wrong(config, key, "", "leave it out, or name one")
    if not config.security.network:
        if found.network not in (NETWORK, "none"):
            raise _wrong(
                config,
                "network",
                found.network,
                "leave it out: security.network = false takes the network away",
            )
        found = msgspec.structs.replace(found, network="none")
    if found.network.startswith("container:"):
        raise _wrong(
            config,
            "network",
            found.network,
            "use host, none, bridge or a named network: two daemons share none",
        )
    for text in found.ports:
        parsed = _PORT.fullmatch(text)
        if parsed is None or not all(1 <= int(parsed[part]) <= 65535 for part in ("host", "inside")):
            raise _wrong(config, "ports", text, 'write "8080:80" or "127.0.0.1:8080:80/tcp"')
    if found.ports and found.network in ("host", "none"):
        raise _wrong(
            config, "ports", found.ports[0], f'network = "{found.network}" publishes none; use "bridge"'
        )
    for text in found.volumes:
        if _VOLUME.fullmatch(text) is None:
            raise _wrong(config, "volumes", text, 'write "/host/path:/path" or "name:/path:ro"')
    return found


def ports_of(settings: Settings) -> list[tuple[str, int, int, str]]:
    """(host address, host port, port inside, protocol) of each published port."""
    parsed = [match for text in settings.ports if (match := _PORT.fullmatch(text))]
    return [(m["ip"] or "", int(m["host"]), int(m["inside"]), m["protocol"] or "tcp") for m in parsed]


def volumes_of(settings: Settings) -> list[tuple[str, str, bool]]:
    """(source, target, read-only) of each volume."""
    parsed = [match for text in settings.volumes if (match := _VOLUME.fullmatch(text))]
    return [(m["source"], m["target"], m["mode"] == "ro") for m in parsed]


def _wrong(config: DaemonConfig, key: str, value: object, remedy: str) -> PlatformConfigError:
    return PlatformConfigError(
        f"cannot start {config.name!r}: platform.container.{key} = {value!r} is of no use", remedy=remedy
    )
