"""What a store is asked to change, checked; and bytes written as a whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping

from duende.errors import ConfigError
from duende.state.codec import pack
from duende.state.frames import Operation

LONGEST = 1 << 29
LONGEST_KEY = 1 << 12
LONGEST_VALUE = 256 << 20


def operations_of(put: Mapping[str, bytes] | None, delete: Iterable[str]) -> list[Operation]:
    """The operations of a commit.

    Raises:
        ConfigError: a key or a value is of a kind or size that the store does not take.
    """
    operations: list[Operation] = []
    size = 0
    if put:
        for key, value in put.items():
            if not isinstance(value, bytes):
                raise ConfigError(
                    f"the value of {key!r} is of type {type(value).__name__}",
                    remedy="give bytes: encode it first",
                )
            if len(value) > LONGEST_VALUE:
                raise ConfigError(
                    f"the value of {key!r} has {len(value)} bytes",
                    remedy=f"up to {LONGEST_VALUE} are kept; split it, or keep it in a file",
                )
            size += len(value)
            operations.append((_key(key), pack(value)))
    if delete:
        operations += [(_key(key), None) for key in delete]
    if size > LONGEST:
        raise ConfigError(
            f"a commit of {len(operations)} changes has {size} bytes",
            remedy=f"make several of it, of up to {LONGEST}",
        )
    return operations


def _key(key: str) -> str:
    if isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and (key.isascii() or _encodes(key)):
        return key
    raise ConfigError(
        f"{key!r:.80} is no key", remedy=f"give a text of 1 to {LONGEST_KEY} characters that UTF-8 can hold"
    )


def _encodes(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_all(fd: int, data: bytes, at: int) -> int:
    """Write *data* at the offset *at*; how much that was.

    Raises:
        OSError: it was refused, perhaps after a part.
    """
    view = memoryview(data)
    done = 0
    while done < len(view):
        count = os.pwrite(fd, view[done:], at + done)
        if count == 0:
            raise OSError(errno.EIO, "nothing was written")
        done += count
    return done
