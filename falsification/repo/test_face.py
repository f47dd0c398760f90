"""The public face: `__all__` is exact, and every name in it resolves."""

from __future__ import annotations

import ast
import re

import duende
from falsification.repo.sources import PRODUCT

NAMES = {
    "Daemon", "DaemonConfig", "DaemonContext", "DaemonHandle", "DaemonId", "DaemonManager", "DaemonMetrics", "DaemonStatus",
    "ExitReason", "HealthStatus", "Platform", "ResourceConfig", "RestartPolicy", "Signal", "detect_platform", "run", "select_adapter",
}  # fmt: skip
"""The names of the design besides the error classes."""


def _error_classes() -> set[str]:
    tree = ast.parse((PRODUCT / "errors.py").read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def test_all_is_exact() -> None:
    """`__all__` is the names of the design and every error class, sorted, and nothing else."""
    assert list(duende.__all__) == sorted(NAMES | _error_classes())


def test_every_public_name_resolves() -> None:
    """Every name of `__all__` can be imported."""
    missing = []
    for name in duende.__all__:
        try:
            getattr(duende, name)
        except (AttributeError, ImportError) as error:
            missing.append(f"{name}: {error}")
    assert not missing, "\n".join(missing)


def test_version_is_that_of_the_project() -> None:
    """`duende.__version__` is the version in pyproject.toml."""
    text = (PRODUCT.parent / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    assert duende.__version__ == found[1]
