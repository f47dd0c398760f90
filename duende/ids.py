"""Identity of a daemon: a random 128-bit id, as UUID version 4 (RFC 9562), in its 36-character text form."""

from __future__ import annotations

import os
import re

from duende.errors import SerializationError

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class DaemonId(str):
    """A daemon's id: hashable, ordered, and its JSON form is the bare string."""

    __slots__ = ()

    @classmethod
    def new(cls) -> DaemonId:
        """A fresh random id."""
        # uuid.uuid4 does the same, but importing uuid costs several milliseconds of every start.
        raw = bytearray(os.urandom(16))
        raw[6] = (raw[6] & 0x0F) | 0x40
        raw[8] = (raw[8] & 0x3F) | 0x80
        text = raw.hex()
        return cls(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")

    @classmethod
    def parse(cls, text: str) -> DaemonId:
        """Read the 36-character form.

        Raises:
            SerializationError: *text* is not a UUID.
        """
        lowered = text.lower()
        if not _FORM.fullmatch(lowered):
            raise SerializationError(
                f"cannot read {text!r} as a daemon id", remedy="it is a UUID of 36 characters"
            )
        return cls(lowered)

    @property
    def short(self) -> str:
        """The first 8 hex digits, for names people read."""
        return self[:8]
