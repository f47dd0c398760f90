"""Read configuration files strictly: every mistake with its line, and the nearest known key for an unknown
one.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

import msgspec

from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LoggingConfig,
    PlatformSection,
    QualityConfig,
    ReadinessConfig,
    ResourceConfig,
    RestartConfig,
    SecurityConfig,
)
from duende.config.policy import PolicyConfig
from duende.errors import ConfigError

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "resources": ResourceConfig,
    "health_check": HealthCheckConfig,
    "restart": RestartConfig,
    "logging": LoggingConfig,
    "readiness": ReadinessConfig,
    "security": SecurityConfig,
    "quality": QualityConfig,
    "policy": PolicyConfig,
    "platform": PlatformSection,
}
DURATIONS = frozenset(
    (
    "shutdown_timeout", "health_check.interval", "health_check.timeout", "restart.initial_delay",
    "restart.max_delay", "restart.window", "restart.stable_after", "readiness.timeout",
    "readiness.settle", "readiness.interval",
    )
)  # fmt: skip
SIZES = frozenset(
    (
    "resources.memory_bytes", "resources.memory_swap_bytes", "resources.io_read_bps",
    "resources.io_write_bps", "resources.core_bytes", "resources.stack_bytes",
    "resources.address_space_bytes", "resources.network_bps", "resources.disk_bytes", "logging.max_bytes",
    )
)  # fmt: skip
MOST_MISTAKES = 100
LARGEST_FILE = 4 * 1024 * 1024

Fleet = list[tuple[str, "DaemonConfig | ConfigError"]]
Problem = tuple[str, str]


def load(path: str, *, name: str | None = None, daemon: str | None = None) -> DaemonConfig:
    """The one daemon of the file at *path*; *name* and *daemon* are what to take where the file has none.

    Raises:
        ConfigError: the file cannot be read, or has mistakes (all of them in `problems`).
    """
    found = load_fleet(path, {"name": name, "daemon": daemon})
    if len(found) != 1:
        raise ConfigError(
            f"cannot use {path} as one daemon: it has {len(found)}",
            remedy="use `duende start` or `duende manager` for a fleet",
            source=path,
        )
    config = found[0][1]
    if isinstance(config, ConfigError):
        raise config
    return config


def loads(text: str, source: str = "<text>") -> DaemonConfig:
    """The one daemon of a TOML *text*; *source* names it in errors.

    Raises:
        ConfigError: it has mistakes.
    """
    return _decode(_parse(text, source), text, source, "")


def load_fleet(path: str, given: Mapping[str, str | None] | None = None) -> Fleet:
    """The daemons of a file, or of every *.toml in a folder; a broken one takes the place of its
    configuration and harms no other.

    Raises:
        ConfigError: the file or folder cannot be read at all.
    """
    if os.path.isdir(path):
        names = sorted(name for name in _listing(path) if name.endswith(".toml"))
        fleet: Fleet = []
        for name in names:
            try:
                fleet += load_fleet(os.path.join(path, name))
            except ConfigError as error:
                fleet.append((name, error))
        return _unique(fleet)
    text = read_text(path)
    data = _parse(text, path)
    if "daemon" in data and isinstance(data["daemon"], list):
        unknown = sorted(set(data) - {"daemon", "defaults"})
        if unknown:
            raise ConfigError(
                f"{path}: unknown key {unknown[0]!r} beside [[daemon]]",
                remedy="known: daemon, defaults",
                key=unknown[0],
                source=path,
            )
        return _unique(_tables(data, text, path))
    for key, value in (given or {}).items():
        if key == "daemon" and value is not None:
            value = anchored(value, os.curdir)  # noqa: PLW2901 (said by a person, who means it from where they are)
        if value is not None and key not in data and not (key == "daemon" and "binary_path" in data):
            data[key] = value
    try:
        return _unique(_expand(_decode(data, text, path, "")))
    except ConfigError as error:
        return [(str(data.get("name", path)), error)]


def read_text(path: str) -> str:
    """The text of a file.

    Raises:
        ConfigError: it cannot be read; the system's error number is named (ENOENT, ELOOP, ENAMETOOLONG,
        EACCES ...).
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer that never comes.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            raw = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        shown = path if len(path) <= 200 else f"{path[:80]}...{path[-20:]} ({len(path)} characters)"
        remedies = {
            errno.ENOENT: "check the path",
            errno.ELOOP: "a symbolic link leads to itself",
            errno.ENAMETOOLONG: "use a shorter path",
            errno.EACCES: "check its rights",
        }
        raise ConfigError(
            f"cannot read {shown}: {getattr(error, 'strerror', None) or error}"
            f" ({errno.errorcode.get(number, number)})",
            remedy=remedies.get(number, ""),
            source=path,
        ) from error
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"cannot read {path}: it is larger than {LARGEST_FILE} bytes", source=path)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 (byte {error.start})", source=path) from error


def read_env_file(path: str) -> dict[str, str]:
    """Variables of a file of KEY=value lines; `#` starts a comment line, quotes around a value are taken off.

    Raises:
        ConfigError: it cannot be read, or a line is not of that form.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.removeprefix("export ").partition("=")
        if not equals or not key.strip().isidentifier():
            raise ConfigError(f"{path}:{number}: {text[:60]!r} is not of the form KEY=value", source=path)
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[key.strip()] = value
    return found


def decode_json(raw: bytes | str) -> DaemonConfig:
    """A configuration that travelled as JSON between parts of duende.

    Raises:
        ConfigError: it is something else.
    """
    try:
        return msgspec.json.decode(raw, type=DaemonConfig)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"cannot read the configuration handed over: {error}") from error


def config_hash(config: DaemonConfig) -> str:
    """16 hex digits that differ when the configuration does."""
    import hashlib

    return hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()[:16]


def _listing(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        raise ConfigError(f"cannot read the folder {path}: {error.strerror}", source=path) from error


def _parse(text: str, source: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number of thousands of digits
        raise ConfigError(
            f"{source}: not TOML: {error}", remedy="see https://toml.io for the syntax", source=source
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply", source=source) from error


def _tables(data: dict[str, Any], text: str, source: str) -> Fleet:
    defaults = data.get("defaults", {})
    fleet: Fleet = []
    for position, table in enumerate(data["daemon"]):
        prefix = f"daemon[{position}]"
        try:
            if not isinstance(table, dict) or not isinstance(defaults, dict):
                raise ConfigError(f"{source}: {prefix} must be a table", source=source)
            fleet += _expand(_decode(_merge(defaults, table), text, source, prefix))
        except ConfigError as error:
            fleet.append((str(table.get("name", prefix)) if isinstance(table, dict) else prefix, error))
    return fleet


def _merge(defaults: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in table.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _expand(config: DaemonConfig) -> Fleet:
    if config.count == 1:
        return [(config.name, config)]
    one = msgspec.structs.replace(config, count=1)
    names = [f"{config.name}-{number}" for number in range(config.count)]
    return [(name, msgspec.structs.replace(one, name=name)) for name in names]


def _unique(fleet: Fleet) -> Fleet:
    seen: set[str] = set()
    for position, (name, config) in enumerate(fleet):
        if isinstance(config, DaemonConfig) and config.name in seen:
            fleet[position] = (
                name,
                ConfigError(
                    f"name: {config.name!r} is used twice",
                    remedy="every daemon needs a name of its own",
                    key="name",
                ),
            )
        seen.add(name)
    return fleet


def _decode(data: dict[str, Any], text: str, source: str, prefix: str) -> DaemonConfig:
    from duende.config import check

    data = dict(data)
    if isinstance(data.get("restart"), str):
        data["restart"] = {"policy": data["restart"]}
    if isinstance(data.get("daemon"), str):
        data["daemon"] = anchored(data["daemon"], os.path.dirname(source))
    mistakes = [*_unknown_keys(data), *_units(data)]
    wrong = [key for key, _ in mistakes]
    config: DaemonConfig | None = None
    # What is wrong is taken out and the rest looked at again, so that one mistake does not hide another.
    while config is None and len(wrong) <= MOST_MISTAKES:
        try:
            config = msgspec.convert(_without(data, wrong), DaemonConfig, strict=True)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            key = where.rstrip("`").lstrip(".") or _quoted(message)
            mistakes.append((key, message[:1].lower() + message[1:]))
            if "required field" in message or key in wrong:
                break
            wrong.append(key)
    if config is not None:
        config = check.normalise(config)
        # Taking one of these out makes the other look wrong.
        silent = {"binary_path", "daemon"} if wrong else set()
        mistakes += [found for found in check.problems(config) if found[0] not in silent]
    if mistakes or config is None:
        from duende.config.locate import line_of

        lines = tuple(f"{source}:{line_of(text, key, prefix)}: {key}: {problem}" for key, problem in mistakes)
        head = lines[0] if len(lines) == 1 else f"{source}: {len(lines)} mistakes, the first: {lines[0]}"
        raise ConfigError(head, problems=lines, key=mistakes[0][0], source=source)
    return config


def anchored(target: str, folder: str) -> str:
    """A `file.py:Class` with the file's path made absolute from *folder*, so that it means the same wherever a manager runs; a module as it
    is.
    """
    file, _, name = target.rpartition(":")
    if not file.endswith(".py") or os.path.isabs(file):
        return target
    return f"{os.path.normpath(os.path.join(os.path.abspath(folder), file))}:{name}"


def _without(data: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """*data* without the fields that *keys* point to or into."""
    for key in keys:
        section, _, field = re.split(r"\[", key)[0].partition(".")
        table = data.get(section)
        if section in SECTIONS and field and isinstance(table, dict):
            data = {
                **data,
                section: {name: value for name, value in table.items() if name != field.partition(".")[0]},
            }
        else:
            data = {name: value for name, value in data.items() if name != section}
    return data


def _quoted(message: str) -> str:
    parts = message.split("`")
    return parts[1] if len(parts) > 2 else ""


def _unknown_keys(data: dict[str, Any]) -> list[Problem]:
    found = _unknown_in(data, DaemonConfig, "")
    for section, model in SECTIONS.items():
        table = data.get(section)
        if isinstance(table, dict):
            found += _unknown_in(table, model, section + ".")
    return found


def _unknown_in(table: dict[str, Any], model: type[msgspec.Struct], prefix: str) -> list[Problem]:
    known = model.__struct_fields__
    found = []
    for key in table:
        if key in known:
            continue
        from difflib import get_close_matches

        near = get_close_matches(key, known, n=1, cutoff=0.5)
        home = (
            next((name for name, other in SECTIONS.items() if key in other.__struct_fields__), None)
            if not prefix
            else None
        )
        if home is not None:
            hint = f"it belongs into [{home}]"
        else:
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
        found.append((f"{prefix}{key}", f"unknown key; {hint}"))
    return found


def _units(data: dict[str, Any]) -> list[Problem]:
    from duende.config.units import parse_duration, parse_size

    found: list[Problem] = []
    for keys, parse in ((DURATIONS, parse_duration), (SIZES, parse_size)):
        for key in sorted(keys):
            section, _, name = key.rpartition(".")
            table = data.get(section) if section else data
            if not isinstance(table, dict) or name not in table:
                continue
            try:
                value = parse(table[name])
            except ConfigError as error:
                found.append((key, str(error)))
                continue
            if section:
                table = data[section] = dict(table)
            table[name] = value
    return found
