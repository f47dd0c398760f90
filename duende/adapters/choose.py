"""Which platform this is, and its adapter. Detection is a pure function of a view of the host; adapters are imported on demand."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import msgspec

from duende.adapters.contract import Platform, PlatformAdapter
from duende.errors import NotSupportedError

CONTAINER_MARKS = ("docker", "containerd", "kubepods", "libpod", "lxc")
"""In /proc/1/cgroup, where the runtime's name shows up on cgroup v1."""


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """What detection looks at, so that it can be tried for any host on any host."""

    system: str
    """`sys.platform`."""
    environ: dict[str, str]
    paths: frozenset[str]
    """Which of `LOOKED_AT` exist."""
    init_cgroup: str = ""
    """Text of /proc/1/cgroup."""


LOOKED_AT = ("/.dockerenv", "/run/.containerenv", "/run/systemd/system")


def look() -> HostView:
    """The view of this host."""
    try:
        with open("/proc/1/cgroup", encoding="utf-8", errors="replace") as file:
            cgroup = file.read()
    except OSError:
        cgroup = ""  # no /proc here, or hidden: then it says nothing
    return HostView(
        system=sys.platform,
        environ=dict(os.environ),
        paths=frozenset(path for path in LOOKED_AT if os.path.exists(path)),
        init_cgroup=cgroup,
    )


def detect(host: HostView) -> Platform:
    """The platform of *host*; the first that fits wins: WOS, pepita, container, Linux with systemd, macOS, else native.

    /dev/virtio-ports is no sign of pepita: every QEMU guest has it.
    """
    environ = host.environ
    if host.system in ("wasi", "emscripten") or environ.get("WOS_KERNEL") or environ.get("WOS_VERSION"):
        return Platform.WOS
    if environ.get("PEPITA_VM") or environ.get("PEPITA_VSOCK_CID"):
        return Platform.PEPITA
    marked = any(mark in host.init_cgroup for mark in CONTAINER_MARKS)
    if (
        {"/.dockerenv", "/run/.containerenv"} & host.paths
        or environ.get("container")
        or environ.get("KUBERNETES_SERVICE_HOST")
        or marked
    ):
        return Platform.CONTAINER
    if host.system == "linux" and "/run/systemd/system" in host.paths:
        return Platform.LINUX
    return Platform.MACOS if host.system == "darwin" else Platform.NATIVE


def detect_platform() -> Platform:
    """The platform this process runs on."""
    return detect(look())


ADAPTERS = {
    Platform.NATIVE: "duende.adapters.native.adapter:NativeAdapter",
    Platform.LINUX: "duende.adapters.systemd.adapter:SystemdAdapter",
    Platform.MACOS: "duende.adapters.launchd.adapter:LaunchdAdapter",
    Platform.CONTAINER: "duende.adapters.container.adapter:ContainerAdapter",
    Platform.PEPITA: "duende.adapters.pepita.adapter:PepitaAdapter",
    Platform.WOS: "duende.adapters.wos.adapter:WosAdapter",
}
"""Where the adapters of this version are; imported when they are asked for, with what they need."""
EXTRAS = {Platform.LINUX: "systemd", Platform.CONTAINER: "container"}
"""The extra that brings what an adapter imports."""


def select_adapter(platform: Platform | None = None, **options: Any) -> PlatformAdapter:
    """The adapter of *platform* (detected when None), made with *options*.

    Raises:
        NotSupportedError: this version has no adapter for it, or what it needs is not installed.
    """
    import importlib

    chosen = platform or detect_platform()
    where = ADAPTERS.get(chosen)
    if where is None:
        raise NotSupportedError(
            chosen.value,
            "be driven by this version of duende",
            remedy="use select_adapter(Platform.NATIVE): it supervises processes anywhere on Linux",
        )
    module, _, name = where.partition(":")
    try:
        adapter: PlatformAdapter = getattr(importlib.import_module(module), name)(**options)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(chosen, "")
        raise NotSupportedError(
            chosen.value,
            f"be driven here: the Python package {error.name!r} is missing",
            remedy=f"pip install 'duende[{extra}]'" if extra else "",
        ) from error
    return adapter


NAMED: dict[str, tuple[Platform, dict[str, Any]]] = {
    "native": (Platform.NATIVE, {}),
    "systemd": (Platform.LINUX, {}),
    "launchd": (Platform.MACOS, {}),
    "container": (Platform.CONTAINER, {}),
    "docker": (Platform.CONTAINER, {"runtime": "docker"}),
    "podman": (Platform.CONTAINER, {"runtime": "podman"}),
    "containerd": (Platform.CONTAINER, {"runtime": "containerd"}),
    "pepita": (Platform.PEPITA, {}),
    "wos": (Platform.WOS, {}),
}
"""What people call adapters: `platform.adapter`, `duende manager --adapter`."""


def adapter_named(name: str, **options: Any) -> PlatformAdapter:
    """The adapter that people call *name*, made with *options*.

    Raises:
        NotSupportedError: there is none of that name, this version has none, or what it needs is not installed.
    """
    found = NAMED.get(name)
    if found is None:
        raise NotSupportedError(
            "duende", f"find an adapter {name!r}", remedy=f"use one of {', '.join(NAMED)}"
        )
    platform, fixed = found
    return select_adapter(platform, **fixed, **options)


def default_adapter(
    runtime_dir: str, state_dir: str, *, keep: bool, helper: tuple[int, int] | None = None
) -> PlatformAdapter:
    """The adapter a manager uses unless it is given one: native, with the *helper* that `fork_helper` made; on macOS launchd."""
    if helper is None and sys.platform == "darwin":
        return select_adapter(Platform.MACOS, runtime_dir=runtime_dir, state_dir=state_dir, keep=keep)
    options: dict[str, Any] = {"runtime_dir": runtime_dir, "state_dir": state_dir, "keep": keep}
    if helper is not None:
        from duende.adapters.native.link import Link

        options["link"] = Link(socket.socket(fileno=helper[0]), helper[1])
    return select_adapter(Platform.NATIVE, **options)
