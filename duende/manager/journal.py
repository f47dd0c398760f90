"""What a manager needs to know after it was killed: which daemons there are, what was wanted of them, and where they are.

One JSON file, written as a whole (write-temp, fsync, rename) shortly after a change. A file that cannot be read is set aside, never lost.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import msgspec

from duende.adapters.contract import DaemonHandle
from duende.errors import SerializationError
from duende.restart import RestartState

FORMAT = 1
WRITE_AFTER = 0.1
"""Seconds from a change to the write: a burst of a thousand starts is one write."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon as it was left."""

    daemon_id: str
    wish: str
    handle: DaemonHandle | None
    restart_state: RestartState


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    format: int
    daemons: dict[str, Entry]


class Journal:
    """Keeps the file up to date."""

    def __init__(self, state_dir: str, entries: Callable[[], dict[str, Entry]]) -> None:
        self.path = os.path.join(state_dir, "manager.json")
        self.entries: dict[str, Entry] = {}
        """What an earlier manager left."""
        self.set_aside: str | None = None
        """Where an unreadable journal was moved to."""
        self._collect = entries
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._frozen: dict[str, Entry] | None = None
        self._open = False

    def load(self) -> None:
        """Read the file; one that cannot be read is renamed and the manager starts without it."""
        self._open = True
        try:
            with open(self.path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return
        try:
            self.entries = decode(raw).daemons
        except SerializationError:
            number = 0
            while os.path.exists(f"{self.path}.unreadable-{number}"):
                number += 1
            self.set_aside = f"{self.path}.unreadable-{number}"
            os.replace(self.path, self.set_aside)

    def touch(self) -> None:
        """Something changed: write soon."""
        if self._timer is None and self._open and self._frozen is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AFTER, self._due)

    def freeze(self) -> None:
        """Keep what is wanted now: stopping everything because the manager ends is not an operator's stop."""
        if self._frozen is None and self._open:
            self._frozen = {
                name: msgspec.structs.replace(entry, handle=None) for name, entry in self._now().items()
            }

    async def close(self) -> None:
        """Write the last word."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._open:
            return
        if self._writing is not None and not self._writing.done():
            await self._writing
        await asyncio.get_running_loop().run_in_executor(None, self._write, self._frozen or self._now())
        self._open = False

    def _now(self) -> dict[str, Entry]:
        return self._collect()

    def _due(self) -> None:
        self._timer = None
        if self._writing is not None and not self._writing.done():
            self.touch()
            return
        entries = self._frozen or self._now()
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, entries)

    def _write(self, entries: dict[str, Entry]) -> None:
        data = msgspec.json.encode(Document(format=FORMAT, daemons=entries))
        temporary = f"{self.path}.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, self.path)


def decode(raw: bytes) -> Document:
    """Read a journal.

    Raises:
        SerializationError: it is torn, zeroed, or of a format this version does not know.
    """
    try:
        document = msgspec.json.decode(raw, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SerializationError(f"cannot read the manager's journal: {error}") from error
    if document.format != FORMAT:
        raise SerializationError(
            f"cannot read a journal of format {document.format}: this version knows {FORMAT}"
        )
    return document
