"""Compiles the two C programs of the bench into bench/out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
FLAGS = {
    "tiny": ["-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-no-pie"],
    "limit": ["-O2", "-static"],
}


def compiler() -> str | None:
    """The C compiler that is used."""
    return shutil.which("gcc") or shutil.which("cc")


def compiled(name: str) -> Path:
    """The program made from `<name>.c`, compiled anew where its source is younger.

    Raises:
        RuntimeError: there is no compiler, or it refused.
    """
    source, program = HERE / f"{name}.c", OUT / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    found = compiler()
    if found is None:
        raise RuntimeError("cannot compile the bench's programs: no gcc (install the package gcc)")
    OUT.mkdir(exist_ok=True)
    fresh = OUT / f"{name}.new"
    done = subprocess.run(
        [found, *FLAGS[name], "-Wall", "-o", str(fresh), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"cannot compile {source.name}: {done.stderr}")
    fresh.replace(program)
    return program
