"""From a configuration to a property list: pure, but for the users of this host. launchd.plist(5) says what each key does.

A property list is a value, written by `plistlib`: nothing is pasted into text. XML where every string survives it; binary otherwise, which
launchd reads as well: XML 1.0 has no way to say most control characters, and reads a carriage return as a line end.
"""

from __future__ import annotations

import math
import os
import plistlib
import sys
from collections.abc import Mapping
from typing import Any
from xml.parsers.expat import ExpatError

import msgspec

from duende.adapters.contract import SpawnRequest
from duende.adapters.launchd.ignored import delegated
from duende.adapters.native.ignored import asked
from duende.adapters.native.render import DEFAULT_PATH, INHERITED, PYTHON_INHERITED, RUN
from duende.adapters.native.warden.start import ROOT
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.errors import ConfigError, PlatformConfigError

INFINITY = 2**63 - 1
"""RLIM_INFINITY of macOS (<sys/resource.h>), which launchctl prints as (infinity)."""
OPTIONS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "command": ((str, list), "a path, or the words of a command"),
    "domain": (str, 'one of "system", "gui/UID" and "user/UID"'),
    "plist_dir": (str, "a path"),
    "process_type": (str, "one of Background, Standard, Adaptive and Interactive"),
    "python": (str, "a path"),
}
"""Keys of `[platform.launchd]`: another launchctl, the domain of the job, the folder of its property list, ProcessType, and
another interpreter for `Daemon` classes."""
PROCESS_TYPES = ("Background", "Standard", "Adaptive", "Interactive")
TOKEN = "DUENDE_LAUNCHD_START"  # noqa: S105 - the name of a variable
"""Name of the environment variable that tells one start of a job from every other; launchctl prints it."""
LIMITS = {
    "NumberOfFiles": "maxfiles",
    "Core": "core",
    "Stack": "stack",
    "Data": "data",
    "MemoryLock": "memlock",
}
"""Keys of Soft- and HardResourceLimits, and what launchctl calls each."""


def label_of(name: str, daemon_id: str) -> str:
    """The job of a daemon: the same for every start of the same daemon, so that launchd itself refuses a second instance."""
    return f"duende.{name}.{daemon_id[:8]}"


def socket_path(runtime_dir: str, daemon_id: str) -> str:
    """Where a `Daemon` answers for its health."""
    return f"{runtime_dir}/{daemon_id[:13]}.sock"


def notify_path(runtime_dir: str, daemon_id: str) -> str:
    """Where a daemon reports readiness (sd_notify(3)): one socket each, since macOS does not say who sent a datagram."""
    return f"{runtime_dir}/{daemon_id[:13]}.notify"


def log_path(config: DaemonConfig, state_dir: str) -> str | None:
    """The file the daemon's output goes to, None where it goes nowhere."""
    if config.logging.destination is not LogDestination.FILE:
        return None
    return config.logging.path or f"{state_dir}/logs/{config.name}.log"


def check_options(config: DaemonConfig) -> None:
    """Check `[platform.launchd]`.

    Raises:
        PlatformConfigError: a key is not known, or its value is of no use.
    """
    for key, value in config.platform.launchd.items():
        known = OPTIONS.get(key)
        if known is None:
            raise PlatformConfigError(
                f"platform.launchd.{key} is not known", remedy=f"known: {', '.join(OPTIONS)}"
            )
        if (
            not value
            or not isinstance(value, known[0])
            or (isinstance(value, list) and not all(isinstance(word, str) for word in value))
            or (key == "process_type" and value not in PROCESS_TYPES)
        ):
            raise PlatformConfigError(f"platform.launchd.{key} must be {known[1]}, not {value!r}")


def render(
    request: SpawnRequest,
    domain: str,
    *,
    environ: Mapping[str, str],
    runtime_dir: str,
    state_dir: str,
    start_id: str,
    env_file: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The property list of a job in *domain*.

    Raises:
        ConfigError: nothing says what to run.
        PlatformConfigError: launchd cannot take a key.
    """
    config = request.config
    env = _environment(request, environ, env_file or {}, runtime_dir, start_id)
    program, argv = _program(config, env.get("PATH", DEFAULT_PATH))
    log = log_path(config, state_dir) or os.devnull
    job: dict[str, Any] = {
        "Label": label_of(config.name, request.daemon_id),
        "Program": program,
        "ProgramArguments": argv,
        "EnvironmentVariables": env,
        "WorkingDirectory": config.working_dir or "/",
        "StandardOutPath": log,
        "StandardErrorPath": log,
        "ExitTimeOut": exit_timeout(config),
        **_restart(config),
        **_identity(config, domain),
    }
    limits = limits_of(config)
    job["SoftResourceLimits"], job["HardResourceLimits"] = dict(limits), dict(limits)
    if config.security.umask is not None:
        job["Umask"] = config.security.umask
    if config.resources.nice is not None:
        job["Nice"] = config.resources.nice
    if "process_type" in config.platform.launchd:
        job["ProcessType"] = config.platform.launchd["process_type"]
    _refuse_nul(config, job)
    return job


def encode(job: dict[str, Any]) -> bytes:
    """The property list as bytes that read back as exactly that value.

    Raises:
        PlatformConfigError: there are none, for a text that is no text (a lone surrogate).
    """
    try:
        xml = plistlib.dumps(job, fmt=plistlib.FMT_XML)
        if plistlib.loads(xml) == job:
            return xml
    except (ValueError, ExpatError):
        pass  # a text that XML cannot say, and the binary form can
    try:
        return plistlib.dumps(job, fmt=plistlib.FMT_BINARY)
    except UnicodeEncodeError as error:
        raise PlatformConfigError(
            f"cannot write {job.get('Label')!r} as a property list: {error.object!r} is no text that UTF-16 can say",
            remedy="leave out the lone surrogate",
        ) from error


def exit_timeout(config: DaemonConfig) -> int:
    """ExitTimeOut: whole seconds from TERM to KILL; 0 would be for ever."""
    return max(1, min(math.ceil(config.shutdown_timeout), 2**31 - 1))


def limits_of(config: DaemonConfig) -> dict[str, int]:
    """The limits of setrlimit(2) that launchd has keys for."""
    resources = config.resources
    optional = {"Core": resources.core_bytes, "Stack": resources.stack_bytes}
    limits = {"NumberOfFiles": resources.open_files_max}
    limits |= {key: value for key, value in optional.items() if value is not None}
    if resources.memory_bytes and asked(config, "resources.memory_bytes"):
        limits["Data"] = resources.memory_bytes  # as near as it gets, and reported as ignored
    if resources.lock_memory:
        limits["MemoryLock"] = INFINITY
    return limits


def keep_alive(config: DaemonConfig) -> bool | dict[str, bool]:
    """KeepAlive: where launchd restarts it, when; False where the manager does."""
    if not delegated(config):
        return False
    return {"SuccessfulExit": False} if config.restart.policy is RestartPolicy.ON_FAILURE else True


def throttle(config: DaemonConfig) -> int:
    """ThrottleInterval: seconds between two starts by launchd, which it counts from the first of them."""
    return max(1, min(math.ceil(config.restart.initial_delay), 2**31 - 1))


def _restart(config: DaemonConfig) -> dict[str, Any]:
    # RunAtLoad is left out where the manager starts it: a property list that outlives the manager in LaunchAgents must not have launchd
    # start the daemon at the next login.
    if not delegated(config):
        return {"KeepAlive": False, "RunAtLoad": False}
    return {"KeepAlive": keep_alive(config), "RunAtLoad": True, "ThrottleInterval": throttle(config)}


def _program(config: DaemonConfig, search: str) -> tuple[str, list[str]]:
    if config.daemon is not None:
        python = python_of(config)
        encoded = msgspec.json.encode(config).decode()
        return python, [python, "-c", RUN, ROOT, config.daemon, "--config-json", encoded]
    program = config.binary_path
    if not program:
        raise ConfigError(
            f"cannot start {config.name!r}: neither binary_path nor daemon is set",
            remedy="set one of the two",
        )
    return find_program(program, search), [program, *config.args]


def python_of(config: DaemonConfig) -> str:
    """The interpreter that runs a `Daemon` class."""
    return str(config.platform.launchd.get("python", sys.executable))


def find_program(program: str, search: str) -> str:
    """The absolute path of a program; a bare name is looked for in *search*, and stays as it is where nothing is found."""
    if "/" in program:
        return os.path.abspath(program)
    for folder in search.split(os.pathsep):
        candidate = os.path.join(folder or ".", program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    return program


def _environment(
    request: SpawnRequest,
    environ: Mapping[str, str],
    env_file: Mapping[str, str],
    runtime_dir: str,
    start_id: str,
) -> dict[str, str]:
    config = request.config
    inherited = [*INHERITED, *PYTHON_INHERITED] if config.daemon is not None else INHERITED
    env = {key: environ[key] for key in inherited if key in environ}
    env.setdefault("PATH", DEFAULT_PATH)
    if config.user is not None:
        for key in ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "XDG_RUNTIME_DIR"):
            env.pop(key, None)  # those of somebody else; launchd sets the user's own
    if config.daemon is not None:
        env["PYTHONUNBUFFERED"] = "1"
        env["DUENDE_SOCKET"] = socket_path(runtime_dir, request.daemon_id)
        if request.import_path:
            paths = (request.import_path, env.get("PYTHONPATH", ""))
            env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    env |= env_file
    env |= config.env
    env["PWD"] = config.working_dir or "/"
    if notifies(config):
        env["NOTIFY_SOCKET"] = notify_path(runtime_dir, request.daemon_id)
    mine = {"DUENDE_DAEMON_ID": request.daemon_id, "DUENDE_DAEMON_NAME": config.name, TOKEN: start_id}
    return {**env, **mine, **request.env}


def notifies(config: DaemonConfig) -> bool:
    """Whether the daemon has a socket for what it says of itself."""
    return config.daemon is not None or readiness_of(config) is ReadinessKind.NOTIFY


def _identity(config: DaemonConfig, domain: str) -> dict[str, str]:
    if domain == "system":
        found = {"UserName": config.user, "GroupName": config.group}
        return {key: value for key, value in found.items() if value is not None}
    for key, value in (("user", config.user), ("group", config.group)):
        if value is not None and not (key == "user" and value == domain.rpartition("/")[2]):
            raise PlatformConfigError(
                f"cannot run {config.name!r} as {key} {value!r}: in {domain} launchd changes neither user nor group",
                remedy="use the system domain (as root), or leave it out",
            )
    return {}


def _refuse_nul(config: DaemonConfig, value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(config, key)
            _refuse_nul(config, inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nul(config, inner)
    elif isinstance(value, str) and "\0" in value:
        raise PlatformConfigError(
            f"cannot start {config.name!r}: {value!r} holds a NUL, where every text of execve(2) ends",
            remedy="leave it out",
        )
