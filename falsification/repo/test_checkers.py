"""Every checker of the scenarios is tried on hand-written histories."""

from __future__ import annotations

import ast
from pathlib import Path

from falsification.repo.sources import ROOT

CHECKS = ROOT / "scenarios" / "checks"
UNITS = ROOT / "falsification" / "units" / "scenarios"


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def checkers(folder: Path) -> set[str]:
    """`module.function` of every public function of *folder* that makes a checker."""
    return {
        f"{path.stem}.{node.name}"
        for path in folder.glob("*.py")
        for node in _tree(path).body
        if isinstance(node, ast.FunctionDef)
        and node.returns is not None
        and ast.unparse(node.returns) == "Checker"
        and not node.name.startswith("_")
    }


def called(folder: Path) -> set[str]:
    """`module.function` of every such call in the tests of *folder*."""
    return {
        f"{node.func.value.id}.{node.func.attr}"
        for path in folder.glob("test_*.py")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    }


def test_every_checker_is_tried() -> None:
    """A checker that no unit test calls could be true of anything."""
    assert len(checkers(CHECKS)) >= 30
    assert checkers(CHECKS) - called(UNITS) == set()


def test_a_checker_that_nobody_tries_is_found(tmp_path: Path) -> None:
    """The search itself can fail: it sees a checker, and tells one that is tried from one that is not."""
    checks, units = tmp_path / "checks", tmp_path / "units"
    checks.mkdir()
    units.mkdir()
    (checks / "toys.py").write_text(
        "def tried() -> Checker: ...\ndef forgotten(x: int) -> Checker: ...\ndef _part() -> Checker: ...\n"
        "def other() -> int: ...\n"
    )
    (units / "test_toys.py").write_text("CASES = [toys.tried()]\n")
    assert checkers(checks) - called(units) == {"toys.forgotten"}
