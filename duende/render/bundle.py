"""What is run, and the files that it needs, on a machine that has no manager of duende's."""

from __future__ import annotations

import os

import msgspec

from duende.config.model import DaemonConfig
from duende.config.show import to_toml
from duende.errors import ConfigError, DaemonIOError, PlatformConfigError

PYTHON = "/usr/bin/python3"
"""The interpreter of `Daemon` classes where nothing else is said: that of this process may be anywhere."""
CONFIG_DIR = "/etc/duende"
CODE_DIR = "/usr/local/lib/duende"


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A command and its files."""

    argv: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    """(absolute path, text) of what must lie beside the program."""
    module: str = ""
    """The module that the interpreter must be able to import; empty for a program or a file."""
    config: DaemonConfig
    """The configuration, with the class as it is called there."""


def bundle_of(config: DaemonConfig, *, python: str = PYTHON, carry: bool = True) -> Bundle:
    """The command of *config*; with *carry* a class in a file travels along, without it the file is run where it lies.

    Raises:
        ConfigError: nothing says what to run.
        DaemonIOError: the file of the class cannot be read.
        PlatformConfigError: the program is given by a relative path, which means nothing elsewhere.
    """
    if config.daemon is None:
        program = config.binary_path
        if not program:
            raise ConfigError(
                f"cannot render {config.name!r}: neither binary_path nor daemon is set",
                remedy="set one of the two",
            )
        if "/" in program and not os.path.isabs(program):
            raise PlatformConfigError(
                f"cannot render {config.name!r}: binary_path = {program!r} is relative, and nobody there knows to what",
                remedy="give an absolute path, or a bare name to be looked up in PATH",
            )
        return Bundle(argv=(program, *config.args), config=config)
    file, _, name = config.daemon.rpartition(":")
    files: list[tuple[str, str]] = []
    if file.endswith(".py") and carry:
        home = f"{CODE_DIR}/{config.name}/{os.path.basename(file)}"
        files.append((home, _text_of(file)))
        config = msgspec.structs.replace(config, daemon=f"{home}:{name}")
    path = f"{CONFIG_DIR}/{config.name}.toml"
    files.append((path, to_toml(config)))
    return Bundle(
        argv=(python, "-m", "duende", "run", str(config.daemon), "--config", path),
        files=tuple(files),
        module="" if file.endswith(".py") else file,
        config=config,
    )


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 (byte {error.start})", source=path) from error
    except OSError as error:
        raise DaemonIOError.of("read the class's file", path, error, "correct daemon = ...") from error
    return text if text.endswith("\n") else text + "\n"
