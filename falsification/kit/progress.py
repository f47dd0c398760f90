"""Progress in the terminal: rich where it is installed and somebody looks, plain lines otherwise."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress:
    """Plain lines, one for each thing that ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def running(self, names: list[str], done: int, total: int) -> None:
        """What runs now. Plain output does not repeat itself."""

    def line(self, text: str, style: str = "") -> None:
        """Print a line; *style* is for those who have colours."""
        del style
        print(text, flush=True)


class RichProgress_(Progress):  # noqa: N801  (the plain name is rich's own)
    """A bar with what runs now below, lines with colour above."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        self._bar: RichProgress = Progress(*columns, console=Console(), transient=True)
        self._task: TaskID = self._bar.add_task(title, total=None, now="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def running(self, names: list[str], done: int, total: int) -> None:
        """Show what runs now and how far it is."""
        shown = " ".join(names[:4]) + (" ..." if len(names) > 4 else "")
        self._bar.update(self._task, completed=done, total=total, now=shown)

    def line(self, text: str, style: str = "") -> None:
        """Print a coloured line above the bar."""
        self._bar.console.print(text, style=style or None, markup=False, highlight=False)


def progress(title: str) -> Progress:
    """The right kind of progress for this terminal."""
    if not sys.stdout.isatty():
        return Progress()
    try:
        return RichProgress_(title)
    except ImportError:
        return Progress()
