"""The last word of a warden that ends while nobody listens: how the daemons ended that no manager was told of.

A file beside its socket. The next adapter on that folder reads it, so that no exit is lost with the warden.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "warden.exits"
ENTRY = 7
"""Fields of an exit: daemon id, pid, code, signal, core dumped, monotonic time, whether something was left."""


def leave(listener: int, exits: list[tuple[Any, ...]]) -> None:
    """Write *exits* beside the socket of *listener*; where that cannot be done they are lost, and nobody is there to be told."""
    import json  # not read by this process only: never marshal
    import socket

    with socket.socket(fileno=os.dup(listener)) as bound:
        path = os.path.join(os.path.dirname(bound.getsockname()), NAME)
    try:
        fd = os.open(
            f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            view = memoryview(json.dumps(exits).encode())
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        os.replace(f"{path}.new", path)
    except OSError:
        return


def take(folder: str) -> list[tuple[Any, ...]]:
    """What an earlier warden left in *folder*, once: the file is removed. One that cannot be read says nothing."""
    path = os.path.join(folder, NAME)
    try:
        with open(path, "rb") as file:
            raw = file.read()
        os.unlink(path)
    except OSError:
        return []
    import json  # only where there was a word

    try:
        found = json.loads(raw)
    except ValueError:
        return []
    if not isinstance(found, list):
        return []
    return [tuple(entry) for entry in found if isinstance(entry, list) and len(entry) == ENTRY]
