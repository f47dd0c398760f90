"""The eight levels of WOS by name: 0 is the strongest. Pure."""

from __future__ import annotations

from duende.errors import PlatformConfigError

LOWEST, NORMAL = 7, 4
NAMES = ("critical", "high", "above_normal", "normal_plus", "normal", "below_normal", "low", "idle")
"""By their number."""


def check_priority(value: object, name: str = "") -> int:
    """*value* as a priority.

    Raises:
        PlatformConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LOWEST:
        whom = f" {name!r}" if name else ""
        raise PlatformConfigError(
            f"cannot give{whom} the WOS priority {value!r}",
            remedy=f"use 0 (strongest) to {LOWEST} (weakest)",
        )
    return value


def priority_from_name(name: str) -> int:
    """The number of `critical`, `above-normal`, `normal+`, ..., whatever their case.

    Raises:
        PlatformConfigError: WOS has no such level.
    """
    word = name.strip().lower().replace("-", "_").replace("normal+", "normal_plus")
    if word not in NAMES:
        raise PlatformConfigError(f"WOS has no priority {name!r}", remedy=f"use one of {', '.join(NAMES)}")
    return NAMES.index(word)


def priority_name(priority: int) -> str:
    """The name of a number, `unknown` where it has none."""
    return NAMES[priority] if 0 <= priority < len(NAMES) else "unknown"
