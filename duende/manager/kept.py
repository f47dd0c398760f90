"""Files of the manager that must survive its death: written as a whole, and never lost when they cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from duende.errors import SerializationError

T = TypeVar("T")


def write_whole(path: str, data: bytes) -> None:
    """Replace the file at *path*: a reader, or a machine that lost power, has the old one or the new one (rename(2), fsync(2)).

    Raises:
        OSError: it cannot be written; the old one is untouched.
    """
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)


def read_whole(path: str, decode: Callable[[bytes], T]) -> tuple[T | None, str | None]:
    """What *decode* makes of the file, None where there is none; and where one that cannot be read was moved to, None if it was not."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return None, None
    try:
        return decode(raw), None
    except SerializationError:
        number = 0
        while os.path.exists(f"{path}.unreadable-{number}"):
            number += 1
        aside = f"{path}.unreadable-{number}"
        os.replace(path, aside)
        return None, aside
