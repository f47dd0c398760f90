"""What a configuration must obey beyond its types. Collects every mistake; pure but for nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import msgspec

from duende.config.capabilities import CAPABILITIES
from duende.config.model import (
    DEFAULT_MEMORY_BYTES,
    DEFAULT_MEMORY_SWAP_BYTES,
    DaemonConfig,
    ReadinessKind,
    ResourceConfig,
)
from duende.config.policy import problems as policy_problems
from duende.errors import ConfigError

NAME_LENGTH = 64
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
PATH_MAX = 4096
"""<linux/limits.h>: bytes of a path, its NUL included."""
NAME_MAX = 255
"""<linux/limits.h>: bytes of one component."""
MAX_ARG_STRLEN = 131072
"""execve(2): bytes of one argument or environment string, its NUL included (32 pages)."""
ARG_MAX = 131072
"""execve(2): bytes of arguments and environment that are always allowed together."""
ARGUMENTS_MAX = 6 * 1024 * 1024
"""execve(2): and never more than that, three quarters of _STK_LIM, however large the stack."""
LARGEST = 2**63 - 1
"""The largest number that files of cgroups and rlimits take."""
ADAPTERS = ("native", "systemd", "launchd", "container", "docker", "podman", "containerd", "pepita", "wos")
"""What `platform.adapter` may say; `duende.adapters.choose` has the same names."""
_PATHS = ("binary_path", "config_path", "env_file", "working_dir", "pid_file")
_POSITIVE = (
    "shutdown_timeout", "health_check.interval", "health_check.timeout", "readiness.timeout",
    "readiness.interval", "restart.window",
)  # fmt: skip
_NOT_NEGATIVE = (
    "restart.initial_delay", "restart.max_delay",
    "restart.max_retries", "restart.stable_after", "readiness.settle", "health_check.watchdog",
    "logging.backups", "resources.memory_bytes", "resources.memory_swap_bytes", "resources.io_read_bps",
    "resources.io_write_bps", "resources.core_bytes", "resources.address_space_bytes",
    "resources.stack_bytes", "resources.network_bps", "resources.disk_bytes",
)  # fmt: skip
_AT_LEAST_ONE = (
    "count", "resources.pids_max", "resources.open_files_max", "resources.cpu_shares",
    "health_check.retries", "health_check.successes",
)  # fmt: skip

_FREE_TEXT = ("args[", "settings", "env.", "description", "health_check.exec[", "readiness.exec[")
_CONTROL = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"  # patterns are compiled on first use: most starts need none
_CONTROL_IN_TEXT = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
_VERSION = r"\d+(\.\d+){0,3}([-+.]?[0-9A-Za-z][0-9A-Za-z.+-]*)?"

Problem = tuple[str, str]
"""Dotted key, and what is wrong with it."""


def normalise(config: DaemonConfig) -> DaemonConfig:
    """The configuration in force: 0 means the default for memory and swap, and a default swap is never below
    the memory.
    """
    resources = config.resources
    memory = resources.memory_bytes or DEFAULT_MEMORY_BYTES
    swap = resources.memory_swap_bytes or DEFAULT_MEMORY_SWAP_BYTES
    if swap == DEFAULT_MEMORY_SWAP_BYTES:
        swap = max(swap, memory)  # nobody asked for the default to be in the way of a larger memory
    if (memory, swap) == (resources.memory_bytes, resources.memory_swap_bytes):
        return config
    fresh = msgspec.structs.replace(resources, memory_bytes=memory, memory_swap_bytes=swap)
    return msgspec.structs.replace(config, resources=fresh)


def problems(config: DaemonConfig) -> list[Problem]:
    """Every mistake in *config*, in the order of its keys."""
    found = [
        *_name(config),
        *_version(config),
        *_strings(config),
        *_numbers(config),
        *_resources(config.resources),
        *_what_to_run(config),
    ]
    found += [*_paths(config), *_environment(config), *_checks(config), *_security(config)]
    found += [*_quality(config), *policy_problems(config.policy)]
    found += _platform(config)
    found += _free_numbers(config.settings, "settings")
    return found


def validate(config: DaemonConfig) -> None:
    """Refuse a configuration with mistakes.

    Raises:
        ConfigError: all of them, in one error.
    """
    found = problems(config)
    if found:
        lines = tuple(f"{key}: {text}" for key, text in found)
        raise ConfigError(
            lines[0] if len(lines) == 1 else f"{len(lines)} mistakes, the first: {lines[0]}",
            problems=lines,
            key=found[0][0],
        )


def _name(config: DaemonConfig) -> Iterator[Problem]:
    name = config.name
    if not name:
        yield "name", "is empty"
    elif len(name) > NAME_LENGTH:
        yield "name", f"has {len(name)} characters; at most {NAME_LENGTH}"
    elif name.startswith("-"):
        yield "name", f"{name!r} starts with '-' and would be taken for an option; start it with a letter"
    elif not set(name) <= NAME_CHARACTERS:
        bad = "".join(sorted(set(name) - NAME_CHARACTERS))
        yield "name", f"{name!r} contains {bad!r}; use ASCII letters, digits, '-' and '_'"


def _version(config: DaemonConfig) -> Iterator[Problem]:
    if config.version != "0.1.0" and not re.fullmatch(_VERSION, config.version, re.ASCII):
        yield "version", f"{config.version!r} is no version; write it like 1.2.3"


def _strings(config: DaemonConfig) -> Iterator[Problem]:
    for key, text in _all_strings(msgspec.to_builtins(config), ""):
        # Line ends and tabs are text in a script, a certificate and the like; elsewhere they are accidents.
        pattern = _CONTROL_IN_TEXT if key.startswith(_FREE_TEXT) else _CONTROL
        bad = None if text.isprintable() else re.search(pattern, text)
        if bad is not None:
            what = (
                "the control character"
                if bad.group() < "\ud800"
                else "a lone surrogate, which no file can carry:"
            )
            yield key, f"contains {what} {bad.group()!r}"


def _free_numbers(value: object, key: str) -> Iterator[Problem]:
    """NaN and infinity in `settings`: JSON, in which they travel to the daemon, would lose them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield key, f"{value} is not a finite number"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _free_numbers(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _free_numbers(inner, f"{key}[{position}]")


def _all_strings(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _all_strings(inner, f"{key}.{name}" if key else str(name))
            if key:
                yield f"{key} key", str(name)
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _all_strings(inner, f"{key}[{position}]")


def _get(config: DaemonConfig, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _numbers(config: DaemonConfig) -> Iterator[Problem]:
    for keys, low, text in (
        (_POSITIVE, None, "must be more than 0"),
        (_NOT_NEGATIVE, 0, "must be 0 or more"),
        (_AT_LEAST_ONE, 1, "must be 1 or more"),
    ):
        for key in keys:
            value = _get(config, key)
            if not isinstance(value, int | float):
                continue
            if isinstance(value, float) and not math.isfinite(value):
                yield key, f"{value} is not a number one can count with"
            elif value > LARGEST:
                yield key, f"{value:.3g} is more than any system can count"
            elif (value <= 0) if low is None else (value < low):
                yield key, f"{value:g} {text}"
    restart = config.restart
    if not math.isfinite(restart.multiplier) or restart.multiplier < 1:
        yield "restart.multiplier", f"{restart.multiplier} must be 1 or more, and finite"
    if not 0 <= restart.jitter <= 1:
        yield "restart.jitter", f"{restart.jitter} must be between 0 and 1"
    if restart.max_delay < restart.initial_delay:
        yield (
            "restart.max_delay",
            f"{restart.max_delay:g} s is below restart.initial_delay ({restart.initial_delay:g} s)",
        )
    if config.logging.max_bytes < 1024:
        yield "logging.max_bytes", f"{config.logging.max_bytes} is below 1 KiB"


def _resources(resources: ResourceConfig) -> Iterator[Problem]:
    if not math.isfinite(resources.cpu_quota_percent) or resources.cpu_quota_percent <= 0:
        yield (
            "resources.cpu_quota_percent",
            f"{resources.cpu_quota_percent} must be more than 0, and finite (100 is one core)",
        )
    memory = resources.memory_bytes or DEFAULT_MEMORY_BYTES
    if 0 < resources.memory_swap_bytes < memory and resources.memory_swap_bytes != DEFAULT_MEMORY_SWAP_BYTES:
        yield (
            "resources.memory_swap_bytes",
            f"{resources.memory_swap_bytes} is memory plus swap, and below memory_bytes ({memory})",
        )
    if resources.disk_folder is not None and not resources.disk_folder.startswith("/"):
        yield "resources.disk_folder", f"{resources.disk_folder!r} must be an absolute path"
    if resources.nice is not None and not -20 <= resources.nice <= 19:
        yield "resources.nice", f"{resources.nice} must be between -20 and 19"
    if resources.lock_memory_required and not resources.lock_memory:
        yield "resources.lock_memory_required", "is set, but lock_memory is not"


def _what_to_run(config: DaemonConfig) -> Iterator[Problem]:
    if config.binary_path is not None and config.daemon is not None:
        yield "daemon", "both daemon and binary_path are set; keep one"
    elif config.binary_path is None and config.daemon is None:
        yield "binary_path", "neither binary_path nor daemon is set; nothing says what to run"
    if config.binary_path == "":
        yield "binary_path", "is empty"
    if config.daemon is not None and ":" not in config.daemon:
        yield "daemon", f"{config.daemon!r} must be 'module:Class' or 'file.py:Class'"


def path_problem(path: str) -> str | None:
    """Why the kernel would refuse *path* for its length (ENAMETOOLONG), or None."""
    raw = path.encode(errors="surrogatepass")
    if len(raw) >= PATH_MAX:
        return f"ENAMETOOLONG: the path has {len(raw)} bytes; at most {PATH_MAX - 1}"
    longest = max((len(part) for part in raw.split(b"/")), default=0)
    return (
        f"ENAMETOOLONG: a component has {longest} bytes; at most {NAME_MAX}" if longest > NAME_MAX else None
    )


def _paths(config: DaemonConfig) -> Iterator[Problem]:
    for key in _PATHS:
        value = _get(config, key)
        if isinstance(value, str):
            if problem := path_problem(value):
                yield key, problem
            if key in ("working_dir", "pid_file") and not value.startswith("/"):
                yield key, f"{value!r} must be an absolute path"
    if config.logging.path is not None:
        if problem := path_problem(config.logging.path):
            yield "logging.path", problem
        if not config.logging.path.startswith("/"):
            yield "logging.path", f"{config.logging.path!r} must be an absolute path"


def _environment(config: DaemonConfig) -> Iterator[Problem]:
    total = 0
    for name, value in config.env.items():
        if not name or "=" in name:
            yield "env", f"{name[:40]!r} cannot be the name of an environment variable"
        size = len(name.encode(errors="surrogatepass")) + len(value.encode(errors="surrogatepass")) + 2
        total += size
        if size > MAX_ARG_STRLEN:
            yield (
                f"env.{name[:40]}",
                f"has {size} bytes; execve(2) takes at most {MAX_ARG_STRLEN} for one string (E2BIG)",
            )
    for position, argument in enumerate(config.args):
        size = len(argument.encode(errors="surrogatepass")) + 1
        total += size
        if size > MAX_ARG_STRLEN:
            yield (
                f"args[{position}]",
                f"has {size} bytes; execve(2) takes at most {MAX_ARG_STRLEN} for one string (E2BIG)",
            )
    if total > ARG_MAX and total > (room := argument_room(config.resources.stack_bytes)):
        yield "env", f"args and env have {total} bytes together; execve(2) takes at most {room} (E2BIG)"


def argument_room(stack_bytes: int | None = None) -> int:
    """Bytes that execve(2) takes for arguments and environment: a quarter of the stack limit, within fixed
    bounds.
    """
    import resource

    limit = resource.getrlimit(resource.RLIMIT_STACK)[0] if stack_bytes is None else stack_bytes
    if limit == resource.RLIM_INFINITY:
        return ARGUMENTS_MAX
    return max(ARG_MAX, min(limit // 4, ARGUMENTS_MAX))


def _quality(config: DaemonConfig) -> Iterator[Problem]:
    quality = config.quality
    if quality.max_complexity < 1:
        yield "quality.max_complexity", f"{quality.max_complexity} must be 1 or more"
    if quality.satd_tolerance < 0:
        yield "quality.satd_tolerance", f"{quality.satd_tolerance} must be 0 or more"
    for key in ("dead_code_max_percent", "min_quality_score"):
        value = getattr(quality, key)
        if not 0 <= value <= 100:
            yield f"quality.{key}", f"{value:g} must be between 0 and 100"


def _security(config: DaemonConfig) -> Iterator[Problem]:
    security = config.security
    if security.umask is not None and not 0 <= security.umask <= 0o777:
        yield "security.umask", f"{security.umask:o} (octal) must be between 0 and 777"
    if security.seccomp not in (None, "compute", "service", "network-service"):
        yield "security.seccomp", f"{security.seccomp!r} must be one of compute, service, network-service"
    if security.seccomp_action not in ("kill", "errno"):
        yield "security.seccomp_action", f"{security.seccomp_action!r} must be kill or errno"
    if security.network_namespace is not None:
        if not security.network_namespace.startswith("/"):
            yield (
                "security.network_namespace",
                f"{security.network_namespace!r} must be an absolute path, as /run/netns/NAME",
            )
        for key in ("health_check.port", "readiness.port"):
            if _get(config, key) is not None:
                yield (
                    key,
                    "is looked for on this host's loopback, and the daemon is in a network namespace of its own; use exec",
                )
    for path in security.readable_paths:
        if not path.startswith("/"):
            yield "security.readable_paths", f"{path!r} must be an absolute path"
    for path in security.writable_paths:
        if not path.startswith("/"):
            yield "security.writable_paths", f"{path!r} must be an absolute path"
    for key, names in (
        ("drop_capabilities", security.drop_capabilities),
        ("add_capabilities", security.add_capabilities),
    ):
        for name in names:
            if name not in CAPABILITIES and not (name == "ALL" and key == "drop_capabilities"):
                near = name.upper().removeprefix("CAP_")
                hint = f"; write {near}" if near in CAPABILITIES else "; see capabilities(7)"
                yield f"security.{key}", f"{name!r} is no capability{hint}"


def _checks(config: DaemonConfig) -> Iterator[Problem]:
    path = config.health_check.http
    if path and not (path.startswith("/") and path.isascii() and path.isprintable() and " " not in path):
        yield "health_check.http", f"{path!r} is no path of a URL, as /healthz"
    if path and config.health_check.port is None:
        yield "health_check.http", "needs health_check.port to be asked at"
    for key, port in (
        ("health_check.port", config.health_check.port),
        ("readiness.port", config.readiness.port),
    ):
        if port is not None and not 1 <= port <= 65535:
            yield key, f"{port} is no TCP port; 1 to 65535"
    needs = {
        ReadinessKind.PORT: ("port", config.readiness.port),
        ReadinessKind.EXEC: ("exec", config.readiness.exec or None),
        ReadinessKind.LOG_LINE: ("pattern", config.readiness.pattern),
    }
    key_and_value = needs.get(config.readiness.kind)
    if key_and_value is not None and key_and_value[1] is None:
        yield (
            f"readiness.{key_and_value[0]}",
            f"is needed for readiness.kind = {config.readiness.kind.value!r}",
        )
    if config.readiness.pattern is not None:
        try:
            re.compile(config.readiness.pattern)
        except re.error as error:
            yield "readiness.pattern", f"is no regular expression: {error}"


def _platform(config: DaemonConfig) -> Iterator[Problem]:
    platform = config.platform
    if platform.adapter is not None and platform.adapter not in ADAPTERS:
        yield "platform.adapter", f"{platform.adapter!r} is no adapter; known: {', '.join(ADAPTERS)}"
    if platform.priority is not None and not 0 <= platform.priority <= 7:
        yield "platform.priority", f"{platform.priority} must be between 0 (strongest) and 7"
    if platform.vcpus is not None and platform.vcpus < 1:
        yield "platform.vcpus", f"{platform.vcpus} must be 1 or more"
    for key, value in platform.native.items():
        wanted = {"preload": bool, "python": str}.get(key)
        if wanted is None:
            yield f"platform.native.{key}", "is not known; known: preload, python"
        elif not isinstance(value, wanted):
            yield (
                f"platform.native.{key}",
                f"must be {'true or false' if wanted is bool else 'a path'}, not {value!r}",
            )
