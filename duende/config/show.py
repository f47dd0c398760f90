"""A configuration as text: TOML that `load` reads back to the same values, and JSON."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from duende.config.model import DaemonConfig

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def as_json(config: DaemonConfig) -> bytes:
    """The configuration as JSON with its keys in a fixed order; `decode_json` reads it."""
    return msgspec.json.encode(config, order="deterministic")


def to_toml(config: DaemonConfig) -> str:
    """The configuration as TOML, every value written out; what is not set is left out, for TOML has no null.

    Raises:
        TypeError: `settings` or a `[platform.*]` table holds something TOML cannot say.
    """
    from datetime import date, datetime, time

    plain = msgspec.to_builtins(config, builtin_types=(datetime, date, time))
    lines: list[str] = []
    _table("", plain, lines)
    return "\n".join(lines) + "\n"


def _table(path: str, table: dict[str, Any], lines: list[str]) -> None:
    """Values first, then the tables inside: TOML has no way back to the outer table."""
    inner = []
    for key, value in table.items():
        if value is None:
            continue
        if isinstance(value, dict):
            inner.append((f"{path}.{_key(key)}" if path else _key(key), value))
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for name, value in inner:
        lines += ["", f"[{name}]"]
        _table(name, value, lines)


def _key(key: object) -> str:
    text = str(key)
    return (
        text
        if text and text.isascii() and text.replace("-", "_").replace("_", "a").isalnum()
        else _string(text)
    )


def _string(text: str) -> str:
    shown = (_ESCAPES.get(char) or (char if char.isprintable() else f"\\U{ord(char):08X}") for char in text)
    return f'"{"".join(shown)}"'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("nan" if math.isnan(value) else f"{value}")
    if isinstance(value, int):
        return str(value)
    if type(value).__module__ == "datetime":
        return str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
            + "}"
        )
    raise TypeError(f"cannot write {type(value).__name__} as TOML")
