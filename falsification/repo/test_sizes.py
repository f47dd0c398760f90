"""Modules stay small."""

from __future__ import annotations

import statistics
from pathlib import Path

from falsification.repo.sources import ROOT

CEILING = 400
MEDIAN = 200
FOLDERS = ("duende", "falsification", "scenarios", "fixtures", "reports", "bench")


def _lengths(folder: Path) -> dict[str, int]:
    paths = (path for path in folder.rglob("*.py") if "out" not in path.parts)
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in paths
    }


def test_no_module_is_over_the_ceiling() -> None:
    """No module has more than 400 lines."""
    long = {
        name: lines
        for folder in FOLDERS
        for name, lines in _lengths(ROOT / folder).items()
        if lines > CEILING
    }
    assert not long, f"too long: {long}"


def test_half_of_the_library_is_short() -> None:
    """The median module of duende/ has at most 200 lines."""
    lengths = _lengths(ROOT / "duende")
    assert statistics.median(lengths.values()) <= MEDIAN
