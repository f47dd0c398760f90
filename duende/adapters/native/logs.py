"""Log files from the adapter's side: make sure one can be written before the daemon starts, and read its end."""

from __future__ import annotations

import os

from duende.errors import SpawnError

BLOCK = 1 << 16


def prepare(path: str) -> None:
    """Create the folder and the file, so that a log that cannot be written stops the start and not the daemon.

    Raises:
        SpawnError: it cannot be written; errno and path say why.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o755, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))
    except OSError as error:
        raise SpawnError(
            f"cannot write the log {path}: {error.strerror}",
            errno=error.errno or 0,
            step="log",
            path=path,
            remedy="correct logging.path or the rights on its folder, or set logging.destination to null",
        ) from error


def tail(path: str, lines: int) -> list[str]:
    """The last *lines* lines, oldest first, going back into rotated files where needed."""
    found: list[str] = []
    for candidate in (path, *(f"{path}.{number}" for number in range(1, 100))):
        need = lines - len(found)
        if need <= 0:
            break
        chunk = _tail_of(candidate, need)
        if chunk is None:
            break
        found = chunk + found
    return found


def _tail_of(path: str, lines: int) -> list[str] | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        position = os.fstat(fd).st_size
        data = b""
        while position > 0 and data.count(b"\n") <= lines:
            step = min(BLOCK, position)
            position -= step
            data = os.pread(fd, step, position) + data
    finally:
        os.close(fd)
    rows = data.split(b"\n")
    if rows and not rows[-1]:
        rows.pop()
    return [row.decode(errors="replace") for row in rows[-lines:]]
