"""Durations and sizes as people write them: "1m 30s", "250ms", "512MiB", "1 GB", or plain numbers of seconds
and bytes.
"""

from __future__ import annotations

import math
import re

from duende.errors import ConfigError

SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours":
    3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0, "w": 604800.0, "week": 604800.0, "weeks":
    604800.0,
}  # fmt: skip
"""Seconds of each unit of time."""
BYTES = {
    "": 1, "b": 1, "k": 1024, "kib": 1024, "kb": 1000, "m": 1024**2, "mib": 1024**2, "mb": 1000**2, "g":
    1024**3, "gib": 1024**3, "gb": 1000**3, "t": 1024**4, "tib": 1024**4, "tb": 1000**4,
}  # fmt: skip
"""Bytes of each unit of size: K, M, G, T and KiB ... are powers of 1024 (IEC 80000-13), kB, MB ... of 1000.
"""
LARGEST_BYTES = 2**63 - 1
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zµ]*)", re.IGNORECASE)
_BARE = re.compile(r"[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", re.IGNORECASE)
_EXACT = 2.0**53
"""Whole numbers are exact floats up to here."""


def parse_duration(value: object) -> float:
    """Seconds of *value*.

    Raises:
        ConfigError: it is no duration, or negative, or not finite.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, value, "a duration")
    if isinstance(value, str) and value.strip():
        total, position, text = 0.0, 0, value.strip()
        if _BARE.fullmatch(text):
            return _finite(float(text), value, "a duration")
        while position < len(text):
            match = _PART.match(text, position)
            if match is None or match.group(2).lower() not in SECONDS:
                break
            total += float(match.group(1)) * SECONDS[match.group(2).lower()]
            position = match.end()
        if position == len(text):
            return _finite(total, value, "a duration")
    raise ConfigError(
        f"cannot read {_short(value)} as a duration",
        remedy='write seconds, or "250ms", "30s", "1m 30s", "2h"',
    )


def parse_size(value: object) -> int:
    """Bytes of *value*.

    Raises:
        ConfigError: it is no size, or negative, or not a whole number of bytes.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        _finite(value, value, "a size")
        if value <= LARGEST_BYTES:
            return value
    if isinstance(value, str):
        match = _PART.fullmatch(value.strip())
        if match is not None and match.group(2).lower() in BYTES:
            size = float(match.group(1)) * BYTES[match.group(2).lower()]
            exact = (
                int(match.group(1)) * BYTES[match.group(2).lower()]
                if match.group(1).isdecimal()
                else int(size)
            )
            if size == int(size) and exact <= LARGEST_BYTES:
                return exact
    raise ConfigError(
        f"cannot read {_short(value)} as a size", remedy='write bytes, or "64k", "512MiB", "2GiB", "1 GB"'
    )


def _finite(number: float, value: object, what: str) -> float:
    try:
        found = float(number)
    except OverflowError:  # TOML numbers have no bound, floats do
        found = math.inf
    if not math.isfinite(found) or found < 0:
        raise ConfigError(f"{_short(value)} is not {what}", remedy="it must be 0 or more, and finite")
    return found


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # more digits than Python turns into text (sys.set_int_max_str_digits)
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def format_duration(seconds: float) -> str:
    """*seconds* in the form that `parse_duration` reads back exactly."""
    if seconds < _EXACT and seconds == int(seconds):
        whole = int(seconds)
        for unit, size in (("h", 3600), ("m", 60)):
            if whole and whole % size == 0:
                return f"{whole // size}{unit}"
        return f"{whole}s"
    return repr(seconds)


def format_size(size: int) -> str:
    """*size* in the largest binary unit that holds it exactly."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
