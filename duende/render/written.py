"""What a rendering gives, and what is said of settings that its target treats in its own way."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from duende.adapters.native.ignored import asked, value_of
from duende.config.model import DaemonConfig
from duende.errors import PlatformConfigError

WIDTH = 100
"""Columns of a comment."""


class Note(msgspec.Struct, frozen=True):
    """A setting that the target does not follow to the letter."""

    key: str
    why: str


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    filename: str
    """What it is usually called."""
    text: str
    notes: tuple[Note, ...] = ()
    executable: bool = False


def refuse_ignored(config: DaemonConfig, target: str, ignored: Iterable[tuple[str, str]]) -> tuple[Note, ...]:
    """The (dotted key, why) of *ignored* that somebody asked for, as notes where `best_effort` lets them pass.

    Raises:
        PlatformConfigError: there is one, and `best_effort` is not set. Defaults ask for nothing.
    """
    notes = []
    for key, why in ignored:
        if not asked(config, key):
            continue
        if not config.best_effort:
            raise PlatformConfigError(
                f"cannot write {key} = {value_of(config, key)!r} of {config.name!r} as {target}: {why}",
                remedy="leave it out, choose another target, or set best_effort = true to write the rest",
            )
        notes.append(Note(key, f"left out: {why}"))
    return tuple(notes)


def head(config: DaemonConfig, target: str, notes: Iterable[Note], mark: str = "# ") -> str:
    """The comment at the head of a file: what it is of, and every note."""
    import textwrap

    lines = [
        f"The daemon {config.name}, version {config.version}, by `duende render --to {target}`; edit its configuration, not this."
    ]
    for note in notes:
        lines += textwrap.wrap(f"{note.key}: {note.why}", WIDTH, initial_indent="- ", subsequent_indent="  ")
    return "".join(f"{mark}{one_line(line)}\n" for line in lines)


def one_line(text: str) -> str:
    """*text* without characters that would end or change a comment."""
    return "".join(char if char.isprintable() else " " for char in text)
