"""The files of a store, byte by byte: a header, then frames that check themselves. Reading and writing of bytes, no I/O.

A file begins with eight bytes of magic (kind and format version), its generation (u64) and the CRC-32 of both (u32). A frame is the length of
its body (u32), the CRC-32 of that length and of the body, each with the generation (u32, u32), and the body: the version it leads to (u64), then
operations. All little-endian. The length has a checksum of its own, so that a frame whose end is missing is told from one that was changed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from duende.errors import SerializationError
from duende.state.codec import Codec, Packed

LOG, SNAPSHOT = b"duelog\x01\n", b"duesnp\x01\n"
"""Magic of either kind of file; the seventh byte is the version of the format."""
HEADER = struct.Struct("<8sQI")
FRAME = struct.Struct("<III")
LENGTH = struct.Struct("<I")
VERSION = struct.Struct("<Q")
PUT = struct.Struct("<BIBIII")
"""Operation, bytes of the key, codec, bytes of the value, its CRC-32, bytes of the payload."""
DELETE = struct.Struct("<BI")
END = struct.Struct("<BQ")
"""Operation, and the number of keys a snapshot has: without it a snapshot was not finished."""
PUTS, DELETES, ENDS = 1, 2, 3
LONGEST = 1 << 30
"""Bytes a frame may have: a length beyond it is damage, not a frame to wait for."""

Operation = tuple[str, Packed | None]
"""A key with its new value, or with None where it goes."""


class Frame(NamedTuple):
    """What a frame says."""

    version: int
    """The version of the state after it."""
    operations: list[Operation]
    keys: int | None
    """In the last frame of a snapshot how many keys it has; None in every other."""


class Scan(NamedTuple):
    """A file as far as it can be read."""

    generation: int
    frames: list[Frame]
    good: int
    """Bytes up to the end of the last frame that is whole."""
    problem: str
    """Why reading ended before the end of the file; empty where it did not."""
    torn: bool
    """Whether the file just ends within a frame, as a write that was cut leaves it."""


def header(magic: bytes, generation: int) -> bytes:
    """The head of a file."""
    return HEADER.pack(magic, generation, zlib.crc32(magic + VERSION.pack(generation)))


def frame(
    generation: int, version: int, operations: Iterable[Operation], *, count: int | None = None
) -> bytes:
    """One frame."""
    parts = [VERSION.pack(version)]
    for key, packed in operations:
        name = key.encode()
        if packed is None:
            parts.append(DELETE.pack(DELETES, len(name)))
            parts.append(name)
        else:
            codec, size, check, payload = packed
            parts.append(PUT.pack(PUTS, len(name), codec, size, check, len(payload)))
            parts.append(name)
            parts.append(payload)
    if count is not None:
        parts.append(END.pack(ENDS, count))
    body = b"".join(parts)
    length, seed = len(body), generation & 0xFFFFFFFF
    return FRAME.pack(length, zlib.crc32(LENGTH.pack(length), seed), zlib.crc32(body, seed)) + body


def scan(data: bytes, magic: bytes) -> Scan:
    """All frames of a file that are whole, from its start to the first that is not.

    Raises:
        SerializationError: the file is none of ours, of a newer format, or its head is damaged.
    """
    generation = _generation(data, magic)
    frames: list[Frame] = []
    at = HEADER.size
    while at < len(data):
        if len(data) - at < FRAME.size:
            return Scan(generation, frames, at, f"the frame at byte {at} has no end", torn=True)
        length, first, check = FRAME.unpack_from(data, at)
        begin = at + FRAME.size
        if first != _check(generation, LENGTH.pack(length)):
            # A file system that lost power may have given the file its new length, and not yet its bytes.
            zeros = not data[at:].strip(b"\0")
            return Scan(generation, frames, at, f"the frame at byte {at} is damaged", torn=zeros)
        if begin + length > len(data):
            return Scan(generation, frames, at, f"the frame at byte {at} has no end", torn=True)
        body = data[begin : begin + length]
        if len(body) < VERSION.size or _check(generation, body) != check:
            return Scan(generation, frames, at, f"the frame at byte {at} is damaged", torn=False)
        try:
            frames.append(_parsed(body))
        except (struct.error, ValueError, IndexError):
            return Scan(generation, frames, at, f"the frame at byte {at} makes no sense", torn=False)
        at = begin + length
    return Scan(generation, frames, at, "", torn=False)


def _generation(data: bytes, magic: bytes) -> int:
    if len(data) < HEADER.size:
        raise SerializationError(f"the head has {len(data)} of {HEADER.size} bytes")
    found, generation, check = HEADER.unpack_from(data)
    if found != magic:
        if found[:6] == magic[:6] and found[7:] == magic[7:]:
            raise SerializationError(
                f"the format has version {found[6]}, and this duende reads {magic[6]}",
                remedy="use the duende that wrote it",
            )
        raise SerializationError(f"it begins with {found!r}, and is no file of a state store")
    if check != zlib.crc32(magic + VERSION.pack(generation)):
        raise SerializationError("the head is damaged")
    return int(generation)


def _check(generation: int, body: bytes) -> int:
    return zlib.crc32(body, generation & 0xFFFFFFFF)


def _parsed(body: bytes) -> Frame:
    (version,) = VERSION.unpack_from(body)
    operations: list[Operation] = []
    count: int | None = None
    at = VERSION.size
    while at < len(body):
        kind = body[at]
        if kind == PUTS:
            _, named, codec, size, check, kept = PUT.unpack_from(body, at)
            at += PUT.size
            key, payload = _taken(body, at, named).decode(), _taken(body, at + named, kept)
            operations.append((key, Packed(Codec(codec), size, check, payload)))
            at += named + kept
        elif kind == DELETES:
            _, named = DELETE.unpack_from(body, at)
            at += DELETE.size
            operations.append((_taken(body, at, named).decode(), None))
            at += named
        elif kind == ENDS:
            _, count = END.unpack_from(body, at)
            at += END.size
        else:
            raise ValueError(kind)
    return Frame(version, operations, count)


def _taken(body: bytes, at: int, count: int) -> bytes:
    if at + count > len(body):
        raise ValueError(count)
    return body[at : at + count]


def chunks(items: Iterable[tuple[str, Packed]], most: int) -> Iterator[list[Operation]]:
    """*items* in parts whose payloads have about *most* bytes."""
    part: list[Operation] = []
    held = 0
    for key, packed in items:
        part.append((key, packed))
        held += len(packed.payload) + len(key) + PUT.size
        if held >= most:
            yield part
            part, held = [], 0
    if part:
        yield part
