"""What the daemons of a manager process are: their configurations and ids, where they came from.

One JSON file beside the journal. `duende start FILE` is kept here before anything is done about it, so that a manager that is killed at
any moment is followed by one that knows every daemon that may run, by its id, and what it was to be.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from duende.config.load import decode_json
from duende.config.model import DaemonConfig
from duende.manager.kept import document, read_whole, understood, write_whole

FORMAT = 1


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon as it was applied."""

    daemon_id: str
    """A changed configuration is another daemon under the same name: it has an id of its own."""
    source: str
    """The file or folder it came from."""
    config: DaemonConfig | msgspec.Raw
    """The configuration, the very object that the manager has; as JSON where an earlier manager wrote it and this one has not read it yet."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A definition in the file."""

    daemon_id: str
    source: str
    config: msgspec.Raw


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    format: int
    daemons: dict[str, Written]


class Definitions:
    """Reads and writes the file."""

    def __init__(self, state_dir: str) -> None:
        self.path = os.path.join(state_dir, "definitions.json")
        self.set_aside: str | None = None
        """Where an unreadable file was moved to."""
        self._kept: dict[str, Definition] = {}

    def load(self) -> None:
        """Read the file; one that cannot be read is renamed, and the manager starts without it."""
        found, self.set_aside = read_whole(self.path, decode)
        self._kept = {
            name: Definition(daemon_id=one.daemon_id, source=one.source, config=one.config.copy())
            for name, one in (found.daemons.items() if found is not None else ())
        }

    def get(self, name: str) -> Definition | None:
        """What is kept of *name*."""
        return self._kept.get(name)

    def items(self) -> list[tuple[str, Definition]]:
        """All that is kept, in the order it was applied."""
        return list(self._kept.items())

    def keep(self, changes: dict[str, Definition], without: Iterable[str] = ()) -> None:
        """Write what is kept with *changes* and without the names *without*; on disk when this returns.

        Raises:
            OSError: it cannot be written; what was kept before stays.
        """
        gone = set(without)
        wanted = {name: one for name, one in {**self._kept, **changes}.items() if name not in gone}
        if wanted == self._kept and os.path.exists(self.path):
            return
        write_whole(self.path, document({"format": FORMAT}, wanted))
        self._kept = wanted

    def know(self, name: str, config: DaemonConfig) -> None:
        """*config* is what the definition of *name* says: its text need not be remembered any more."""
        self._kept[name] = msgspec.structs.replace(self._kept[name], config=config)


def define(config: DaemonConfig, daemon_id: str, source: str) -> Definition:
    """The definition of one daemon."""
    return Definition(daemon_id=daemon_id, source=source, config=config)


def config_of(definition: Definition) -> DaemonConfig:
    """The configuration that was applied.

    Raises:
        ConfigError: this version cannot read it.
    """
    config = definition.config
    return config if isinstance(config, DaemonConfig) else decode_json(bytes(config))


def decode(raw: bytes) -> Document:
    """Read the file's text.

    Raises:
        SerializationError: it is torn, zeroed, or of a format this version does not know.
    """
    return understood(raw, Document, FORMAT, "definitions")
