"""The syntax of unit files (systemd.syntax(7), systemd.unit(5), systemd.service(5)): pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from duende.adapters.systemd.render import INFINITY, Property
from duende.config.capabilities import CAPABILITIES

SPANS = {
    "TimeoutStartUSec": "TimeoutStartSec",
    "TimeoutStopUSec": "TimeoutStopSec",
    "WatchdogUSec": "WatchdogSec",
    "RestartUSec": "RestartSec",
    "RestartMaxDelayUSec": "RestartMaxDelaySec",
    "StartLimitIntervalUSec": "StartLimitIntervalSec",
}
"""Times: their names on D-Bus, in microseconds, and in a unit file."""
OF_UNIT = frozenset({"StartLimitIntervalSec", "StartLimitBurst", "Description", "After", "Wants"})
"""What stands in [Unit]; the rest is for [Service]."""
CAPABILITY_SETS = frozenset({"CapabilityBoundingSet", "AmbientCapabilities"})
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+~^")


def quoted(word: str) -> str:
    """*word* as one word of a line: quoted where it needs to be, and no specifier (`%`)."""
    if word and set(word) <= _PLAIN:
        return word
    return f'"{"".join(_escaped(char) for char in word)}"'


def argument(word: str) -> str:
    """*word* as an argument of ExecStart=, where `$` would name a variable as well."""
    return quoted(word).replace("$", "$$")


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char == "%":
        return "%%"
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())


def plain(text: str) -> str:
    """*text* as the whole value of a setting: one line, and no specifier."""
    return text.replace("%", "%%")


def span(microseconds: int) -> str:
    """A time as people write it: "30s", "1500ms", "infinity" (systemd.time(7))."""
    if microseconds >= INFINITY:
        return "infinity"
    for unit, size in (("s", 1_000_000), ("ms", 1_000)):
        if microseconds % size == 0:
            return f"{microseconds // size}{unit}" if microseconds else "0"
    return f"{microseconds}us"


def lines_of(properties: Iterable[Property]) -> list[tuple[str, str]]:
    """(name, value) as in a unit file of each property of D-Bus, in their order.

    Raises:
        ValueError: a property has a type that no unit file is known to have.
    """
    found = {name: (signature, value) for name, signature, value in properties}
    lines: list[tuple[str, str]] = []
    for name, (signature, value) in found.items():
        if name.endswith("Soft") and name.startswith("Limit"):
            continue  # said with its hard limit
        if name.startswith("Limit"):
            soft = found.get(f"{name}Soft", ("", value))[1]
            hard_text, soft_text = _limit(value), _limit(soft)
            lines.append((name, hard_text if soft == value else f"{soft_text}:{hard_text}"))
        else:
            lines += _line(name, signature, value)
    return lines


def _limit(value: int) -> str:
    return "infinity" if value >= INFINITY else str(value)


def _line(name: str, signature: str, value: Any) -> list[tuple[str, str]]:
    if name in SPANS:
        return [(SPANS[name], span(value))]
    if name == "CPUQuotaPerSecUSec":
        return [("CPUQuota", f"{value / 10_000:g}%")]
    if name in CAPABILITY_SETS:
        names = [f"CAP_{each}" for bit, each in enumerate(CAPABILITIES) if value >> bit & 1]
        return [(name, " ".join(names))]
    if name == "UMask":
        return [(name, f"{value:04o}")]
    if name.endswith("FileToAppend"):
        return [(name.removesuffix("FileToAppend"), f"append:{plain(value)}")]
    if name.endswith("FileDescriptor"):
        return [(name.removesuffix("FileDescriptor"), "inherit")]
    return _by_type(name, signature, value)


def _by_type(name: str, signature: str, value: Any) -> list[tuple[str, str]]:
    match signature:
        case "b":
            return [(name, "yes" if value else "no")]
        case "s":
            return [(name, plain(value))]
        case "t":
            return [(name, _limit(value))]
        case "u" | "i" | "x":
            return [(name, str(value))]
        case "as":
            return [(name, " ".join(quoted(word) for word in value))]
        case (
            "(bas)"
        ):  # SystemCallFilter=, RestrictAddressFamilies= and the like: an allow-list, or with ~ a deny-list
            allow, words = value
            return [(name, ("" if allow else "~") + " ".join(words))]
        case "a(st)":
            return [(name, f"{quoted(path)} {_limit(number)}") for path, number in value]
        case _:
            raise ValueError(f"no unit file is known to say {name} of type {signature}")


def assemble(comment: str, sections: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> str:
    """A unit file."""
    parts = [comment]
    for title, lines in sections:
        parts.append(f"[{title}]\n" + "".join(f"{name}={value}\n" for name, value in lines))
    return "\n".join(parts)
