"""A product small enough to be obviously right: it adds, and says so from a process of its own."""

from __future__ import annotations

import subprocess
import sys


def add(left: int, right: int) -> int:
    """The sum."""
    return left + right


def add_elsewhere(left: int, right: int) -> int:
    """The sum, computed by a child process that imports the product itself."""
    code = f"import toyproduct; print(toyproduct.add({left}, {right}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def greeting() -> str:
    """A text no attempt looks at, so that a defect in it goes unnoticed."""
    return "hello"
