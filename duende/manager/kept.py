"""Files of the manager that must survive its death: written as a whole, and never lost when they cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from duende.errors import SerializationError


class Formatted(Protocol):
    """A document that says which format it has."""

    @property
    def format(self) -> int:
        """Its number."""
        ...


T = TypeVar("T")
D = TypeVar("D", bound=Formatted)
PIECE = 1 << 16
"""Bytes written at once: a thousand daemons as one piece of text would stay in the memory of the manager for its whole life."""


def write_whole(path: str, pieces: Iterable[bytes]) -> None:
    """Replace the file at *path*: a reader, or a machine that lost power, has the old one or the new one (rename(2), fsync(2)).

    Raises:
        OSError: it cannot be written; the old one is untouched.
    """
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        waiting = bytearray()
        for piece in pieces:
            waiting += piece
            if len(waiting) >= PIECE:
                _write(fd, waiting)
                waiting.clear()
        _write(fd, waiting)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)


def _write(fd: int, data: bytearray) -> None:
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def document(head: Mapping[str, object], daemons: Mapping[str, object]) -> Iterable[bytes]:
    """The pieces of a JSON object with the fields of *head*, and *daemons* by name."""
    encode = msgspec.json.encode
    yield encode(head)[:-1] + b',"daemons":{'
    comma = b""
    for name, value in daemons.items():
        yield comma + encode(name) + b":" + encode(value)
        comma = b","
    yield b"}}"


def understood(raw: bytes, kind: type[D], version: int, what: str) -> D:
    """The document in *raw*, of the format *version*.

    Raises:
        SerializationError: it is torn, zeroed, or of a format this version does not know.
    """
    try:
        found = msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SerializationError(f"cannot read the manager's {what}: {error}") from error
    if found.format != version:
        raise SerializationError(
            f"cannot read the manager's {what} of format {found.format}: this version knows {version}"
        )
    return found


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
        return None, move_aside(path)


def move_aside(path: str) -> str:
    """Give a file that cannot be read another name, and tell which."""
    number = 0
    while os.path.exists(f"{path}.unreadable-{number}"):
        number += 1
    aside = f"{path}.unreadable-{number}"
    os.replace(path, aside)
    return aside
