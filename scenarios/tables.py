"""Daemons as tables, the shape of TOML: for a manager in this process, or written to the file of another."""

from __future__ import annotations

import json
from typing import Any


def daemon(
    name: str,
    line: list[str],
    *,
    restart: dict[str, Any] | str = "never",
    env: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A table for the command *line*. Without *more* it is ready at once and its output goes nowhere."""
    table: dict[str, Any] = {
        "name": name,
        "binary_path": line[0],
        "args": line[1:],
        "restart": {"policy": restart} if isinstance(restart, str) else restart,
        "readiness": {"kind": "none", "settle": 0.0},
        "logging": {"destination": "null"},
        "env": env or {},
    }
    return {**table, **more}


def daemon_class(
    target: str, name: str, *, restart: dict[str, Any] | str = "never", **more: Any
) -> dict[str, Any]:
    """A table for a `Daemon` class, *target* being file.py:Class; it says itself when it is ready."""
    policy = {"policy": restart} if isinstance(restart, str) else restart
    table = {"name": name, "daemon": target, "restart": policy, "logging": {"destination": "null"}, "env": {}}
    return {**table, **more}


def always(*, initial_delay: float = 0.0, max_retries: int = 1_000_000, **more: Any) -> dict[str, Any]:
    """A restart table that never tires."""
    return {"policy": "always", "initial_delay": initial_delay, "max_retries": max_retries, **more}


def to_toml(tables: list[dict[str, Any]]) -> str:
    """The tables as an array `[[daemon]]`.

    Raises:
        TypeError: a value has no form in TOML.
    """
    parts = []
    for table in tables:
        lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
        parts.append("[[daemon]]\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _text(key)


def _text(value: str) -> str:
    # The escapes of JSON are those of TOML, but TOML has no surrogate pairs and wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"cannot write {value!r} as TOML")
