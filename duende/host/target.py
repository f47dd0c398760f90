"""From "module:Class" or "path/file.py:Class" to a Daemon class, and back."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from duende.daemon import Daemon
from duende.errors import ConfigError

if TYPE_CHECKING:
    from duende.config.model import DaemonConfig


def resolve(target: str) -> type[Daemon]:
    """The class that *target* names.

    Raises:
        ConfigError: it cannot be imported, is not there, or is no Daemon that can run.
    """
    module_name, _, class_name = target.rpartition(":")
    if not module_name or not class_name:
        raise ConfigError(
            f"cannot run {target!r}: it is not of the form module:Class or file.py:Class", key="daemon"
        )
    module = (
        _load_file(module_name, target) if module_name.endswith(".py") else _load_module(module_name, target)
    )
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise ConfigError(
                f"cannot run {target!r}: {module_name} has no {class_name}",
                remedy=_known(module),
                key="daemon",
            )
    if not isinstance(found, type) or not issubclass(found, Daemon):
        raise ConfigError(
            f"cannot run {target!r}: {class_name} is no subclass of duende.Daemon",
            remedy=_known(module),
            key="daemon",
        )
    return check_class(found)


def check_class(found: type[Daemon]) -> type[Daemon]:
    """Refuse a class that cannot run.

    Raises:
        ConfigError: it has not written `run`.
    """
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(
            f"cannot run {found.__name__}: it has no {', '.join(missing)}",
            remedy="write `async def run(self, ctx)`",
            key="daemon",
        )
    return found


def make(daemon: Daemon | type[Daemon]) -> Daemon:
    """An instance: *daemon* itself, or one of that class.

    Raises:
        ConfigError: the class is abstract, or its constructor raises.
    """
    if not isinstance(daemon, type):
        return daemon
    try:
        return check_class(daemon)()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"cannot run {daemon.__name__}: making it raised {type(error).__name__}: {error}",
            remedy="a daemon is made without arguments; settings belong into its configuration",
            key="daemon",
        ) from error


def target_of(daemon: Daemon | type[Daemon]) -> str:
    """The text that finds the class of *daemon* in another process.

    Raises:
        ConfigError: it cannot be found there: a local class, or one typed into an interpreter.
    """
    found = daemon if isinstance(daemon, type) else type(daemon)
    check_class(found)
    if "<locals>" in found.__qualname__:
        raise ConfigError(
            f"cannot start {found.__qualname__} in another process: it is local to a function",
            remedy="move the class to the top of its module",
            key="daemon",
        )
    module = sys.modules.get(found.__module__)
    path = getattr(module, "__file__", None)
    if found.__module__ == "__main__":
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.name and spec.name != "__main__":
            return f"{spec.name}:{found.__qualname__}"
        if not path:
            raise ConfigError(
                f"cannot start {found.__qualname__} in another process: it was typed into an interpreter",
                remedy="put the class into a file",
                key="daemon",
            )
        return f"{os.path.abspath(path)}:{found.__qualname__}"
    return f"{found.__module__}:{found.__qualname__}"


def import_root(daemon: Daemon | type[Daemon]) -> str:
    """The folder that must be on the import path for `target_of(daemon)`; empty for a file, an installed
    package or the standard library.
    """
    found = daemon if isinstance(daemon, type) else type(daemon)
    path = getattr(sys.modules.get(found.__module__), "__file__", None)
    if found.__module__ == "__main__" or not path:
        return ""
    depth = found.__module__.count(".") + (os.path.basename(path) == "__init__.py")
    root = os.path.abspath(path)
    for _ in range(depth + 1):
        root = os.path.dirname(root)
    return "" if "site-packages" in root or "dist-packages" in root else root


def aimed_at(daemon: Daemon | type[Daemon] | None, config: DaemonConfig) -> tuple[DaemonConfig, str]:
    """*config*, checked, as it starts that *daemon* (None: the program it names), and the folder to import the class from.

    Raises:
        ConfigError: the class cannot be found from another process, or the configuration is wrong.
    """
    import msgspec

    from duende.config import validate

    path = ""
    if daemon is not None:
        config = msgspec.structs.replace(config, daemon=target_of(daemon), binary_path=None)
        path = import_root(daemon)
    validate(config)
    return config, path


def _load_module(name: str, target: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself, or something that it imports?
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(
                f"cannot run {target!r}: no module {error.name!r}",
                remedy="install it, or give file.py:Class",
                key="daemon",
            ) from error
        raise ConfigError(
            f"cannot run {target!r}: {name} needs {error.name!r}, which is not installed", key="daemon"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"cannot run {target!r}: importing {name} raised {type(error).__name__}: {error}", key="daemon"
        ) from error


def _load_file(path: str, target: str) -> Any:
    if not os.path.isfile(path):
        raise ConfigError(
            f"cannot run {target!r}: no file {path}",
            remedy="give a path from the present folder, or an absolute one",
            key="daemon",
        )
    name = os.path.splitext(os.path.basename(path))[0]
    # Only files need these, and they cost a millisecond of every start.
    import importlib.machinery
    import importlib.util

    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=path))
    module.__file__ = path
    sys.modules.setdefault(name, module)
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"cannot run {target!r}: loading {path} raised {type(error).__name__}: {error}", key="daemon"
        ) from error
    return module


def _known(module: Any) -> str:
    names = sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Daemon) and value is not Daemon
    )
    return f"its daemons: {', '.join(names)}" if names else "it has no Daemon"
