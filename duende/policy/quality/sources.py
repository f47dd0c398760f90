"""Which files are a daemon's code: that of its class, and what it imports from beside it. Nothing is imported or run to find out."""

from __future__ import annotations

import ast
import importlib.util
import os

from duende.config.model import DaemonConfig
from duende.errors import ConfigError

MOST = 2000
"""Files of one daemon; more are another project that lies beside it."""


def sources_of(config: DaemonConfig) -> list[str]:
    """Paths of the Python files of *config*'s daemon, that of the class or program first.

    Raises:
        ConfigError: there is no Python code, or it cannot be found.
    """
    if config.daemon is not None:
        first = _file_of(config.daemon)
    else:
        first = config.binary_path or ""
        if not _is_python(first):
            raise ConfigError(
                f"cannot judge the code of {config.name!r}: {first or 'nothing'} is no Python file",
                remedy="set quality.enabled = false for programs in other languages",
                key="quality.enabled",
            )
    found = [os.path.abspath(first)]
    for path in found:
        for each in _imported(path):
            if each not in found and len(found) < MOST:
                found.append(each)
    return found


def _file_of(target: str) -> str:
    module = target.rpartition(":")[0]
    if module.endswith(".py"):
        return module
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot find the code of {target!r}: {error}", key="daemon") from error
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"cannot find the code of {target!r}: there is no module {module} here", key="daemon"
        )
    return spec.origin


def _is_python(path: str) -> bool:
    if path.endswith(".py"):
        return True
    try:
        with open(path, "rb") as file:
            first = file.readline(200)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


def _imported(path: str) -> list[str]:
    """Files in the folder of *path*, or below it, that *path* imports."""
    folder = os.path.dirname(path)
    found: list[str] = []
    for node in ast.walk(parsed(path, text_of(path))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= 1:
            module = node.module or ""
            own = os.path.basename(folder) + "."
            # A package may call itself by its full name.
            module = module.removeprefix(module[: module.rfind(own) + len(own)] if own in module else "")
            names = [module] if module else []
            names += [f"{module}.{alias.name}".lstrip(".") for alias in node.names]
        for name in names:
            base = os.path.join(folder, *name.split("."))
            found += [
                each for each in (f"{base}.py", os.path.join(base, "__init__.py")) if os.path.isfile(each)
            ]
    return found


def parsed(path: str, text: str) -> ast.Module:
    """The syntax tree of the *text* of a file.

    Raises:
        ConfigError: it is no Python.
    """
    try:
        return ast.parse(text, path)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"cannot judge {path}: it is no Python: {error}", source=path) from error


def text_of(path: str) -> str:
    """The text of a Python file, in the encoding that it names.

    Raises:
        ConfigError: it cannot be read.
    """
    import tokenize

    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", source=path) from error
