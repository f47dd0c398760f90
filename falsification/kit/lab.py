"""The lab: install, from Debian's packages, the programs nobody here wrote that the attempts supervise. Starts no service."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("redis-server", "nginx", "postgresql", "runit", "s6", "gcc", "libc6-dev")
"""Programs to supervise, peers of the bench, and the compiler of the tiny static daemon."""
POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's maintainer scripts before starting a service; exit code 101 forbids it (invoke-rc.d(8))."""
CLUSTER_CONFIG = Path("/etc/postgresql-common/createcluster.conf")
"""`create_main_cluster = false` keeps the package from creating and starting a database of its own."""
APT_DEADLINE_S = 900.0


def install() -> bool:
    """Install what is missing, as root on a Debian with apt. Otherwise, or when apt fails, says so and goes on: returns False."""
    absent = _absent(PACKAGES)
    if not absent:
        print(f"lab: {', '.join(PACKAGES)} are installed")
        return True
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        reason = "not root" if os.geteuid() != 0 else "no apt-get here"
        print(
            f"lab: cannot install {', '.join(absent)}: {reason}; attempts fall back on Python's own servers"
        )
        return False
    with _no_services(), _no_cluster():
        return _apt("update") and _apt("install", "--yes", "--no-install-recommends", *absent)


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
        print(
            f"lab: apt-get {arguments[0]} failed with {done.returncode}; going on without\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        )
    return done.returncode == 0


@contextmanager
def _no_services() -> Iterator[None]:
    """Forbid the packages to start services, unless this machine has a policy of its own, which then stays."""
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
    """Keep the database package from creating a cluster, unless this machine has settings of its own, which then stay."""
    if CLUSTER_CONFIG.exists():
        yield
        return
    CLUSTER_CONFIG.parent.mkdir(parents=True, exist_ok=True)
    CLUSTER_CONFIG.write_text("create_main_cluster = false\n", encoding="ascii")
    yield  # the file stays: the package takes it as its own configuration from then on


if __name__ == "__main__":
    install()
