"""What a manager needs to know after it was killed: which daemons there are, what was wanted of them, and where they are.

One JSON file, written as a whole shortly after a change, and before the first start of a daemon: whatever runs is known by its id. A file
that cannot be read is set aside, never lost.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

import msgspec

from duende.adapters.contract import DaemonHandle
from duende.kernel.process import boot_id
from duende.manager.kept import document, read_whole, understood, write_whole
from duende.restart import RestartState

FORMAT = 1
WRITE_AFTER = 0.1
"""Seconds from a change to the write: a burst of a thousand starts is one write."""

RETRY_AFTER = 2.0
"""Seconds after which a write that failed is tried again."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon as it was left."""

    daemon_id: str
    wish: str
    handle: DaemonHandle | None
    restart_state: RestartState
    ended: bool = False
    """It had ended, and its policy was to leave it so."""
    started_at: float | None = None
    """Unix seconds of when it had become Running."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    format: int
    daemons: dict[str, Entry]
    boot: str = ""
    """The boot in which it was written (random(4)): what ended in an earlier one starts again."""


class Journal:
    """Keeps the file up to date. *ahead* says that daemons outlive a killed manager, so that their ids must be on record first."""

    def __init__(
        self, state_dir: str, entries: Callable[[], dict[str, Entry]], *, ahead: bool = False
    ) -> None:
        self.path = os.path.join(state_dir, "manager.json")
        self.entries: dict[str, Entry] = {}
        """What an earlier manager left."""
        self.set_aside: str | None = None
        """Where an unreadable journal was moved to."""
        self.trouble = ""
        """Why it could not be written the last time, empty when it was."""
        self.on_trouble: Callable[[str], None] | None = None
        """Called with `trouble` whenever it becomes another."""
        self._collect = entries
        self._ahead = ahead
        self._recorded: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._frozen: dict[str, Entry] | None = None
        self._open = False
        self._boot = boot_id()

    def load(self) -> None:
        """Read the file; one that cannot be read is renamed and the manager starts without it."""
        self._open = True
        found, self.set_aside = read_whole(self.path, decode)
        if found is None:
            return
        self._recorded = {entry.daemon_id for entry in found.daemons.values()}
        same = found.boot == self._boot
        self.entries = {
            name: entry if same or not entry.ended else msgspec.structs.replace(entry, ended=False)
            for name, entry in found.daemons.items()
        }

    def touch(self) -> None:
        """Something changed: write soon."""
        if self._timer is None and self._open and self._frozen is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AFTER, self._due)

    async def record(self, daemon_ids: Iterable[str]) -> None:
        """Return when these ids are on disk, so that whoever finds the daemons running knows whose they are.

        Without it a manager that is killed a moment after a start is followed by one that starts a second instance. Where the disk
        refuses, the daemon is started all the same, and `trouble` says why.
        """
        if not self._ahead or not self._open or self._recorded.issuperset(daemon_ids):
            return
        await self._write_now()

    def freeze(self) -> None:
        """Keep what is wanted now: stopping everything because the manager ends is not an operator's stop."""
        if self._frozen is None and self._open:
            present = self._collect()
            self._frozen = self._unclaimed(present) | {
                name: msgspec.structs.replace(entry, handle=None, ended=False)
                for name, entry in present.items()
            }

    async def close(self) -> None:
        """Write the last word."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._open:
            return
        await self._write_now()
        self._open = False

    async def _write_now(self) -> None:
        """Write what is so now, after a write that is under way; on disk, or `trouble`, when this returns."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])
        self._begin(self._frozen or self._now())
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def forget(self, name: str) -> None:
        """Drop what an earlier manager left of *name*."""
        self.entries.pop(name, None)
        self.touch()

    def _now(self) -> dict[str, Entry]:
        present = self._collect()
        return self._unclaimed(present) | present

    def _unclaimed(self, present: dict[str, Entry]) -> dict[str, Entry]:
        """What an earlier manager left running and nobody registered: kept on record, or nobody would ever know of it again."""
        return {
            name: entry
            for name, entry in self.entries.items()
            if name not in present and entry.handle is not None
        }

    def _due(self) -> None:
        self._timer = None
        if self._writing is not None and not self._writing.done():
            self.touch()
            return
        self._begin(self._frozen or self._now())

    def _begin(self, entries: dict[str, Entry]) -> None:
        before = self.trouble
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, entries)
        self._writing.add_done_callback(lambda _: self._wrote(before))

    def _wrote(self, before: str) -> None:
        if self.trouble and self._timer is None and self._open:
            # Nothing else may change for days, and what is on disk is out of date.
            self._timer = asyncio.get_running_loop().call_later(RETRY_AFTER, self._due)
        if self.trouble != before and self.on_trouble is not None:
            self.on_trouble(self.trouble)

    def _write(self, entries: dict[str, Entry]) -> None:
        try:
            write_whole(self.path, document({"format": FORMAT, "boot": self._boot}, entries))
        except OSError as error:
            self.trouble = f"cannot write {self.path}: {error.strerror or error}"
            return
        self.trouble = ""
        self._recorded = {entry.daemon_id for entry in entries.values()}


def decode(raw: bytes) -> Document:
    """Read a journal.

    Raises:
        SerializationError: it is torn, zeroed, or of a format this version does not know.
    """
    return understood(raw, Document, FORMAT, "journal")
