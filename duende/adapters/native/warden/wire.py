"""Frames between the adapter, the warden and its helpers: four bytes of length, then a marshalled tuple.

Both ends are the same interpreter on the same machine and talk over sockets that only they hold; marshal is the fastest encoder there is
without an import. It is never read from a file or a stranger.
"""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LENGTH_BYTES = 4
LIMIT = 64 * 1024 * 1024
"""A longer frame means the stream is out of step."""


def pack(message: tuple[Any, ...]) -> bytes:
    """One message as a frame."""
    body = marshal.dumps(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class Inbox:
    """Collects bytes and gives whole messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Any, ...]]:
        """Take *data* and yield every message that is now complete.

        Raises:
            ValueError: the stream is out of step.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= LENGTH_BYTES:
            size = int.from_bytes(buffer[start : start + LENGTH_BYTES], "big")
            if size > LIMIT:
                raise ValueError(f"frame of {size} bytes on a warden's socket")
            end = start + LENGTH_BYTES + size
            if len(buffer) < end:
                break
            message: tuple[Any, ...] = marshal.loads(memoryview(buffer)[start + LENGTH_BYTES : end])  # noqa: S302 (our own helper)
            start = end
            yield message
        if start:
            del buffer[:start]
