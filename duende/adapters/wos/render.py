"""From a configuration to the command line of wos-ctl: pure."""

from __future__ import annotations

import os

import msgspec

from duende.adapters.contract import DaemonHandle, SpawnRequest
from duende.adapters.native.ignored import asked
from duende.adapters.wos.ignored import refuse_ignored
from duende.adapters.wos.settings import priority_of, settings_of
from duende.config.model import DaemonConfig, LogDestination
from duende.errors import ConfigError, PlatformConfigError
from duende.signals import Signal

LABEL_ID = "duende.daemon.id"
LABEL_HASH = "duende.config.hash"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole kernel has: limits of single processes cannot be larger."""

    memory: int = 256 * 1024 * 1024
    fds: int = 256
    processes: int = 1000


def spawn(request: SpawnRequest, machine: Machine, default: int, env_file: dict[str, str]) -> list[str]:
    """The words after `wos-ctl` that start what *request* says; *default* is the priority of what asks for none.

    Raises:
        ConfigError: nothing says what to run.
        PlatformConfigError: WOS cannot take the configuration.
    """
    config = request.config
    if config.daemon is not None:
        raise PlatformConfigError(
            f"cannot start {config.name!r} under WOS: it runs WebAssembly modules, and daemon = {config.daemon!r} is a Python class",
            remedy="set binary_path to a module for wasm32-wasi, or use another adapter for this daemon",
        )
    if config.binary_path is None:
        raise ConfigError(
            f"cannot start {config.name!r}: binary_path is not set", remedy="set it to a module"
        )
    settings = settings_of(config)
    refuse_ignored(config)
    words = ["spawn", "--json", "--no-boot", "--name", config.name, "--wasm", config.binary_path]
    words += ["--priority", str(priority_of(config, settings, default)), "--cwd", config.working_dir or "/"]
    memory = within(config, "resources.memory_bytes", config.resources.memory_bytes, machine.memory)
    words += ["--memory", str(memory)]
    words += [
        "--fds",
        str(within(config, "resources.open_files_max", config.resources.open_files_max, machine.fds)),
    ]
    words += ["--pids", str(config.resources.pids_max), "--fuel", str(settings.fuel)]
    kept = config.logging.max_bytes if config.logging.destination is not LogDestination.NULL else 0
    words += ["--log-bytes", str(kept)]
    for each in settings.capabilities:
        words += ["--capability", each]
    for folder in settings.folders or ((config.working_dir,) if config.working_dir else ()):
        words += ["--dir", folder]
    for key, value in environment(request, env_file).items():
        words += ["--env", f"{key}={value}"]
    words += ["--label", f"{LABEL_ID}={request.daemon_id}", "--label", f"{LABEL_HASH}={request.config_hash}"]
    words += ["--", *config.args]
    for word in words:
        if "\0" in word:
            raise PlatformConfigError(f"cannot start {config.name!r}: {word!r} has a zero byte in it")
    return words


def within(config: DaemonConfig, key: str, value: int, most: int) -> int:
    """What to ask for: a default, or what may be approximated, is no more than the machine has; the rest WOS refuses itself."""
    return min(value, most) if config.best_effort or not asked(config, key) else value


def environment(request: SpawnRequest, env_file: dict[str, str]) -> dict[str, str]:
    """Its variables: nothing is inherited from whoever starts it."""
    own = {"DUENDE_DAEMON_ID": request.daemon_id, "DUENDE_DAEMON_NAME": request.config.name}
    return {**env_file, **request.config.env, **own, **request.env}


def about(verb: str, handle: DaemonHandle, *words: str) -> list[str]:
    """The words of a verb about one process, of the very kernel that the handle is of: numbers begin anew in each."""
    return [verb, "--json", "--pid", handle.instance, "--boot", handle.boot_id, *words]


def send(handle: DaemonHandle, signal: Signal) -> list[str]:
    """The words that send a signal: WOS has Linux's numbers."""
    return about("kill", handle, "--signal", str(signal.number("linux")))


def absolute(config: DaemonConfig) -> DaemonConfig:
    """The same with an absolute path to its module."""
    path = config.binary_path
    if path is None or os.path.isabs(path):
        return config
    return msgspec.structs.replace(config, binary_path=os.path.abspath(path))
