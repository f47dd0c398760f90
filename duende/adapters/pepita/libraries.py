"""What a program of this host needs to run in a guest: its own file, its loader, and its shared libraries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from duende.errors import PlatformConfigError

WITHIN = 10.0
_LINE = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def libraries_of(name: str, program: str) -> tuple[str, ...]:
    """HOST:GUEST for the program and each of its libraries, at their own paths.

    Raises:
        PlatformConfigError: it is not on this host, or a library of it is not.
    """
    path = shutil.which(program)
    if path is None:
        raise PlatformConfigError(
            f"cannot start {name!r}: platform.pepita.copy_binary: there is no program {program!r} on this host",
            remedy="correct binary_path, or leave copy_binary out and have it in the root image",
        )
    path = os.path.realpath(path)
    asked = subprocess.run(
        ["ldd", path], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN, check=False
    )
    if "not found" in asked.stdout:
        missing = next(line.strip() for line in asked.stdout.splitlines() if "not found" in line)
        raise PlatformConfigError(
            f"cannot start {name!r}: {path} lacks a library on this host: {missing}", remedy="install it"
        )
    return (f"{path}:{program if program.startswith('/') else path}", *parse(asked.stdout))


def parse(text: str) -> tuple[str, ...]:
    """HOST:GUEST of each library that ldd(1) names: pure. A static program has none."""
    return tuple(f"{found}:{found}" for found in dict.fromkeys(_LINE.findall(text)))
