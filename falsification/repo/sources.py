"""The library's sources, parsed once for all tests of the repository."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ROOT / "duende"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One module."""

    path: Path
    """Its file."""
    name: str
    """Its dotted name."""
    text: str
    """Its text."""
    tree: ast.Module
    """Its syntax tree."""

    @property
    def relative(self) -> str:
        """Its path from the root of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    def at(self, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
        """Where *node* stands, for a message."""
        return f"{self.relative}:{node.lineno}"

    def line(self, number: int) -> str:
        """A line of its text, counted from 1."""
        return self.text.splitlines()[number - 1]


@cache
def library() -> tuple[Source, ...]:
    """All modules of duende/."""
    return tuple(_read(path) for path in sorted(PRODUCT.rglob("*.py")))


def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path=path, name=name, text=text, tree=ast.parse(text, str(path)))


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`, which never run."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from runtime_nodes(other)
            continue
        yield child
        yield from runtime_nodes(child)
