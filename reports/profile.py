"""Profiles: which claims a release on a platform needs, at which level, and which were withdrawn in the open."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from falsification.kit.claim import Claim
from falsification.kit.verdict import Level

FOLDER = Path(__file__).with_name("profiles")


class ProfileError(Exception):
    """The profile cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """A claim taken out of a release, in the open."""

    reason: str
    """Why it cannot be held here, and what limits it."""
    measured: str
    """The figure that was measured instead, with its unit."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a release on one platform needs."""

    name: str
    """Name of the file."""
    title: str
    """For people."""
    needs: dict[str, Level]
    """Ids of claims with the level asked for: at least the claim's own."""
    scenarios: tuple[str, ...]
    """Ids of scenarios that must have survived too."""
    withdrawn: dict[str, Withdrawal]
    """Those of `needs` that do not count for now."""


def names() -> list[str]:
    """All profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, claims: Mapping[str, Claim]) -> Profile:
    """Read the profile *name*.

    Raises:
        ProfileError: it is absent, malformed, asks for unknown claims, or withdraws without reason and figure.
    """
    path = FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"there is no profile {name!r}; there are {', '.join(names())}") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"profile {name}: {error}") from error
    return parse(name, table, claims)


def parse(name: str, table: Mapping[str, Any], claims: Mapping[str, Claim]) -> Profile:
    """Make a profile of a decoded table.

    Raises:
        ProfileError: as `load`.
    """
    try:
        return _parse(name, table, claims)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProfileError(f"profile {name}: {type(error).__name__}: {error}") from error


def _parse(name: str, table: Mapping[str, Any], claims: Mapping[str, Claim]) -> Profile:
    unknown = set(table) - {"title", "needs", "scenarios", "withdrawn"}
    if unknown:
        raise ProfileError(f"profile {name} has the unknown keys {', '.join(sorted(unknown))}")
    needs: dict[str, Level] = {}
    for level, ids in table["needs"].items():
        for each in ids:
            if each not in claims:
                raise ProfileError(f"profile {name} needs {each}, which is no claim")
            if each in needs:
                raise ProfileError(f"profile {name} needs {each} twice")
            # A profile may ask for more than the claim does, never for less.
            needs[each] = max(Level(level), claims[each].requires, key=lambda one: one.strength)
    if not needs:
        raise ProfileError(f"profile {name} needs nothing: it would pass whatever happened")
    withdrawn: dict[str, Withdrawal] = {}
    for each, entry in table.get("withdrawn", {}).items():
        if each not in needs:
            raise ProfileError(f"profile {name} withdraws {each}, which it does not need")
        withdrawn[each] = Withdrawal(reason=entry["reason"].strip(), measured=entry["measured"].strip())
        if not withdrawn[each].reason or not withdrawn[each].measured:
            raise ProfileError(
                f"profile {name} withdraws {each} without a reason or without the measured figure"
            )
    return Profile(
        name=name,
        title=table["title"],
        needs=needs,
        scenarios=tuple(table.get("scenarios", ())),
        withdrawn=withdrawn,
    )
