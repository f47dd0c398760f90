"""The lab: install, from Debian's packages, what attempts supervise and the runtimes, and build the images.

Only when asked. Starts no service and removes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = (
    "redis-server",
    "nginx",
    "postgresql",
    "runit",
    "s6",
    "gcc",
    "libc6-dev",
    "musl-tools",  # programs of another C library, which make other system calls (F072)
    "iproute2",
    "iperf3",
    "btrfs-progs",
    "fio",
    "nbd-server",
    "nbd-client",
    "strace",
    "libdw1",  # reads debugging information; libdw1t64 since Debian 13, which strace brings there
)
"""Programs to supervise, peers of the bench, and the compiler of the tiny static daemon."""
RUNTIMES = {
    "dockerd": "docker.io",
    "docker": "docker-cli",  # apart from docker.io since Debian 13; before it there is no such package, and no need
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",  # dockerd asks for it even where it has nothing to do
    "podman": "podman",
    "conmon": "conmon",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "busctl": "systemd",
    "debootstrap": "debootstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
}
"""The program of a runtime and its package. A program that is there, from whatever package, is left as it is: another
vendor's Docker would be removed by Debian's."""
WASM = {"clang": "clang-14", "lld": "lld-14", "libc": "wasi-libc", "runtime": "libclang-rt-14-dev-wasm32"}
"""What compiles C for wasm32-wasi."""
BUSYBOX = "busybox-static"
"""Its file has the name that the other busybox has too, so it is asked for as a package."""
POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's maintainer scripts before starting a service; exit code 101 forbids it (invoke-rc.d(8)).
"""
CLUSTER_CONFIG = Path("/etc/postgresql-common/createcluster.conf")
"""`create_main_cluster = false` keeps the package from creating and starting a database of its own."""
APT_DEADLINE_S = 900.0


def install() -> bool:
    """Install what is missing, as root on a Debian with apt, and build the images.

    Otherwise, or when something fails, says so and goes on: returns False.
    """
    absent = _absent((*PACKAGES, *WASM.values(), BUSYBOX)) + missing_runtimes()
    if absent and not _install(absent):
        return False
    if not absent:
        print("lab: every package is installed")
    _wos()
    _lz4()
    _prometheus()
    images = _images()
    return _guests() and images


def _wos() -> None:
    """Compile what WOS runs, and its quick command."""
    from fixtures.sharing import LabError
    from fixtures.wos import build

    try:
        for source in sorted(build.MODULES.glob("*.c")):
            print(f"lab: module {source.stem}: {build.module(source.stem)}", flush=True)
        print(f"lab: wos-ctl: {build.control()}")
    except LabError as error:
        print(f"lab: cannot compile the modules: {error}; those in text format are used where that will do")


def _lz4() -> None:
    """Fetch the source of LZ4, and build it with and without vector registers."""
    from fixtures.pages import build
    from fixtures.sharing import LabError

    try:
        for kind in build.FLAGS:
            print(f"lab: LZ4, {kind}: {build.library(kind)}", flush=True)
    except LabError as error:
        print(f"lab: {error}; what compares the two is unattempted")


def _prometheus() -> None:
    """Fetch Prometheus."""
    from fixtures.prometheus import PROGRAMS, program
    from fixtures.sharing import LabMissingError

    try:
        print(f"lab: {', '.join(str(program(name)) for name in PROGRAMS)}", flush=True)
    except LabMissingError as error:
        print(f"lab: {error}; nobody else reads the metrics here")


def _install(absent: list[str]) -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        reason = "not root" if os.geteuid() != 0 else "no apt-get here"
        print(
            f"lab: cannot install {', '.join(absent)}: {reason}; attempts fall back on Python's own servers, and what "
            "needs a runtime that is not here is unattempted"
        )
        return False
    with _no_services(), _no_cluster():
        if not _apt("update"):
            return False
        known = _known(absent)
        for name in sorted(set(absent) - set(known)):
            print(f"lab: this release has no package {name}")
        return _apt("install", "--yes", "--no-install-recommends", "--no-remove", *known)


def missing_runtimes(which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """The packages of runtimes whose program *which* does not find."""
    return [package for program, package in RUNTIMES.items() if which(program) is None]


def _known(packages: list[str]) -> list[str]:
    """Those that can be installed from where this machine gets its packages."""
    asked = subprocess.run(
        ["apt-cache", "--quiet", "policy", *packages],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        timeout=APT_DEADLINE_S,
    )
    return candidates(asked.stdout, packages)


def candidates(policy: str, packages: list[str]) -> list[str]:
    """Those of *packages* for which `apt-cache policy` said that there is a version to install."""
    found = dict(re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (.*)$", policy, re.MULTILINE))
    return [name for name in packages if found.get(name, "(none)") != "(none)"]


def _images() -> bool:
    """Build the images that are not in the cache."""
    from fixtures.images import store
    from fixtures.images.recipes import RECIPES
    from fixtures.sharing import LabError

    try:
        for name in RECIPES:
            print(f"lab: image {name}: {store.archive(name)}", flush=True)
    except LabError as error:
        print(f"lab: cannot build the images: {error}; what needs them is unattempted")
        return False
    return True


def _guests() -> bool:
    """Fetch the kernel of guests, build their roots, and boot one for its snapshot, where that was not done before."""
    from fixtures.pepita import build, snapshot
    from fixtures.pepita.places import PepitaError

    try:
        print(f"lab: guest kernel: {build.kernel()}", flush=True)
        for name in ("tiny", "python"):
            print(f"lab: guest root {name}: {build.root(name)}", flush=True)
        for options in ({"memory": 256}, {"memory": 768}, {"memory": 256, "rootfs": "python"}):
            shape = snapshot.shape_of(options)
            print(f"lab: guest snapshot on {shape.accelerator}: {snapshot.ensure(shape)}", flush=True)
    except PepitaError as error:
        print(f"lab: cannot make guests: {error}; what needs them is unattempted")
        return False
    return True


def _absent(packages: tuple[str, ...]) -> list[str]:
    if shutil.which("dpkg-query") is None:
        return list(packages)
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    there = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [each for each in packages if each not in there]


def _apt(*arguments: str) -> bool:
    print(f"lab: apt-get {' '.join(arguments)}", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            ["apt-get", "-q", "-q", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=APT_DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        print(f"lab: apt-get did not end within {APT_DEADLINE_S:g} s; going on without")
        return False
    if done.returncode != 0:
        told = f"{done.stdout[-1500:]}{done.stderr[-1500:]}"
        print(f"lab: apt-get {arguments[0]} failed with {done.returncode}; going on without\n{told}")
    return done.returncode == 0


@contextmanager
def _no_services() -> Iterator[None]:
    """Forbid packages to start services, unless this machine has a policy of its own, which stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


@contextmanager
def _no_cluster() -> Iterator[None]:
    """Keep the database package from creating a cluster, unless this machine has settings of its own, which
    then stay.
    """
    if CLUSTER_CONFIG.exists():
        yield
        return
    CLUSTER_CONFIG.parent.mkdir(parents=True, exist_ok=True)
    CLUSTER_CONFIG.write_text("create_main_cluster = false\n", encoding="ascii")
    yield  # the file stays: the package takes it as its own configuration from then on


if __name__ == "__main__":
    install()
