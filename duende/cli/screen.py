"""A screen that is drawn over and over: only lines that changed are sent, so that a slow connection carries it. Control sequences are those of
ECMA-48 that every terminal since the VT100 knows.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
from typing import Any

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
CURSOR_OFF, CURSOR_ON = "\x1b[?25l", "\x1b[?25h"
OTHER_SCREEN, OWN_SCREEN = "\x1b[?1049h\x1b[2J", "\x1b[?1049l"


def levels() -> str:
    """Nine signs from nothing to full, that this terminal can show."""
    return BLOCKS if "utf" in (sys.stdout.encoding or "").lower() else PLAIN


def spark(values: list[float], width: int, top: float = 0.0, signs: str = BLOCKS) -> str:
    """The last *width* values as a line of signs; the highest is that of *top*, or of the largest where that is more."""
    shown = values[-width:]
    most = max([top, *shown])
    if most <= 0:
        return (signs[1] * len(shown)).rjust(width)
    last = len(signs) - 1
    return "".join(signs[max(1, min(last, round(each / most * last)))] for each in shown).rjust(width)


def bar(used: float, limit: float, width: int, signs: str = BLOCKS) -> str:
    """How much of a limit is used, as a bar; blank where there is no limit."""
    if limit <= 0:
        return " " * width
    eighths = min(max(used / limit, 0.0), 1.0) * width
    full = int(eighths)
    part = signs[int((eighths - full) * (len(signs) - 1))] if full < width else ""
    return (signs[-1] * full + part).ljust(width)


class Screen:
    """The whole terminal, as long as it is open; keys come without Enter."""

    def __init__(self) -> None:
        self._before: list[str] = []
        self._saved: list[Any] | None = None
        self._width = 0

    def __enter__(self) -> Screen:  # noqa: PYI034 - no subclasses
        """Take the terminal."""
        import termios
        import tty

        if sys.stdin.isatty():
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        sys.stdout.write(OTHER_SCREEN + CURSOR_OFF)
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back as it was."""
        import termios

        sys.stdout.write(CURSOR_ON + OWN_SCREEN)
        sys.stdout.flush()
        if self._saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)

    def draw(self, lines: list[str]) -> int:
        """Show *lines*, as far as they fit; how many bytes that took."""
        size = shutil.get_terminal_size((100, 24))
        if size.columns != self._width:
            self._before, self._width = [], size.columns
            sys.stdout.write("\x1b[2J")
        shown = lines[: size.lines - 1]
        text = changes(self._before, shown)
        self._before = shown
        sys.stdout.write(text)
        sys.stdout.flush()
        return len(text.encode())

    def key(self, seconds: float) -> str:
        """The next key within *seconds*; empty when none is pressed."""
        keys = [] if self._saved is None else [sys.stdin]
        ready, _, _ = select.select(keys, [], [], seconds)
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if ready else ""


def changes(before: list[str], after: list[str]) -> str:
    """What turns the lines *before* into those *after* on a terminal."""
    parts = [
        f"\x1b[{row};1H{line}\x1b[K"
        for row, line in enumerate(after, 1)
        if row > len(before) or before[row - 1] != line
    ]
    if len(after) < len(before):
        parts.append(f"\x1b[{len(after) + 1};1H\x1b[J")
    return "".join(parts)
