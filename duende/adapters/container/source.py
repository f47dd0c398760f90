"""Where a `Daemon` class, duende and what it imports are on this host, and where a container sees them."""

from __future__ import annotations

import importlib.util
import os
import sys

import msgspec

from duende.adapters.container.engine import Mount
from duende.adapters.native.warden.start import ROOT
from duende.errors import SpawnError

LIBRARY = "/opt/duende/lib"
"""Where the container finds duende and msgspec."""
APPLICATION = "/opt/duende/app"
"""Where the container finds the class's own folder or package."""
NOTIFY = "/run/duende/notify"
"""The folder with the socket for readiness, read-only: sockets there can be written to (mount(2)), not replaced."""
RUNTIME = "/run/duende/daemon"
"""The folder in which a `Daemon` makes its health socket."""
NOTIFY_SOCKET = "notify.sock"
DAEMON_SOCKET = "daemon.sock"


class Source(msgspec.Struct, frozen=True):
    """What is mounted for one class."""

    target: str
    """The class as it is found inside."""
    mounts: tuple[Mount, ...]


def source_of(target: str, import_path: str) -> Source:
    """What a container needs to import *target* ("module:Class" or "path/file.py:Class").

    The folder *import_path*, or the folder of the file, is mounted whole, since a class imports its neighbours; a class of an installed
    package takes that package along. What else it imports must be in the image, or in `platform.container.volumes`.

    Raises:
        SpawnError: it is not on this host.
    """
    module, _, name = target.rpartition(":")
    mounts = [_package("duende"), _package("msgspec")]
    if module.endswith(".py"):
        path = os.path.abspath(module)
        if not os.path.isfile(path):
            raise SpawnError(
                f"cannot start {target!r}: no file {path}",
                errno=2,
                step="daemon",
                path=path,
                remedy="correct the path",
            )
        mounts.append(Mount(os.path.dirname(path), APPLICATION, True))
        return Source(f"{APPLICATION}/{os.path.basename(path)}:{name}", tuple(mounts))
    top = module.partition(".")[0]
    if import_path:
        mounts.append(Mount(os.path.abspath(import_path), APPLICATION, True))
    elif top not in ("duende", "msgspec") and top not in sys.stdlib_module_names:
        mounts.append(_package(top))
    return Source(target, tuple(mounts))


def _package(name: str) -> Mount:
    """The mount of an installed top-level module or package."""
    if name == "duende":
        return Mount(os.path.join(ROOT, "duende"), f"{LIBRARY}/duende", True)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin:
        raise SpawnError(
            f"cannot find the package {name!r} on this host",
            errno=2,
            step="daemon",
            path=name,
            remedy="install it, give file.py:Class, or use an image that has it and platform.container.mount_source = false",
        )
    path = os.path.dirname(spec.origin) if spec.submodule_search_locations else spec.origin
    return Mount(path, f"{LIBRARY}/{os.path.basename(path)}", True)
