"""The end of the output of the run before this one: a container takes its output along when it is removed."""

from __future__ import annotations

import os

from duende.adapters.container.engine import Engine
from duende.errors import PlatformError

KEPT_LINES = 1000
"""Lines of an earlier run that are kept, of one run for each daemon: a crash is looked into after the restart."""


def path_of(state_dir: str, daemon_id: str) -> str:
    """The file for one daemon."""
    return f"{state_dir}/logs/{daemon_id[:13]}.earlier"


async def keep_tail(engine: Engine, container: str, state_dir: str, daemon_id: str) -> None:
    """Keep the last lines of *container*'s output, best effort: a log that cannot be kept must not hold up a restart."""
    try:
        lines = await engine.logs(container, KEPT_LINES)
        path = path_of(state_dir, daemon_id)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        fd = os.open(
            f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640
        )
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(f"{path}.new", path)
    except (PlatformError, OSError):
        return


def earlier_lines(state_dir: str, daemon_id: str, lines: int) -> list[str]:
    """The last *lines* lines of the run before this one, as far as they were kept."""
    try:
        with open(path_of(state_dir, daemon_id), encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in file][-lines:] if lines > 0 else []
    except OSError:
        return []


def forget(state_dir: str, daemon_id: str) -> None:
    """Remove what was kept."""
    try:
        os.unlink(path_of(state_dir, daemon_id))
    except OSError:
        pass  # nothing was
