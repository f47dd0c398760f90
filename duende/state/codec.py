"""Values made small by what they are: one byte repeated, LZ4 where bytes repeat, Zstandard where they are merely unequal, raw where nothing helps.

The entropy of a sample decides what is tried first; what does not save an eighth is kept as it is. LZ4 and Zstandard come from the packages
`lz4` and `zstandard` (the extra `state`); without them zlib does both, and what they have written cannot be read.
"""

from __future__ import annotations

import enum
import importlib
import math
import threading
import zlib
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

from duende.errors import SerializationError

SMALL = 128
"""Bytes below which nothing is tried: the header of a codec would eat what it saves."""
WORTH = 7 / 8
"""What a compressed value may be of its size, to be kept compressed."""
SAMPLE = 256
"""Bytes of which the entropy is reckoned."""
LZ4_BELOW, ZSTD_3_BELOW, ZSTD_1_BELOW = 5.3, 6.2, 6.95
"""Bits a byte: up to the first LZ4, to the second Zstandard at level 3, to the third at level 1, raw above. Of 256 bytes drawn at random from
256 the estimate is 7.2, never 8: the thresholds are of the estimate.
"""


class Codec(enum.IntEnum):
    """How a payload is to be read. The numbers are on disk."""

    RAW = 0
    SAME = 1
    LZ4 = 2
    ZSTD = 3
    ZLIB = 4


class Packed(NamedTuple):
    """A value as it is kept."""

    codec: int
    """A `Codec`."""
    size: int
    """Bytes of the value."""
    check: int
    """CRC-32 of the value."""
    payload: bytes
    """What is kept of it: for a value of one byte repeated two bytes, the mark of the codec and that byte."""


def entropy(value: bytes) -> float:
    """Bits a byte (Shannon) of a sample of *value*, taken evenly; 0 for none."""
    step = max(1, len(value) // SAMPLE) | 1  # odd, so that it does not walk in step with words and lines
    sample = value[::step]
    count = len(sample)
    if count < 2:
        return 0.0
    table = _parts()
    if count >= len(table):
        return math.log2(count) - sum(n * math.log2(n) for n in Counter(sample).values()) / count
    return table[count] / count - sum(map(table.__getitem__, Counter(sample).values())) / count


@cache
def _parts() -> tuple[float, ...]:
    """The product n log2(n) for every count a sample can have: H = log2(N) - sum(n log2 n) / N, without a logarithm for each."""
    return (0.0, *(n * math.log2(n) for n in range(1, 3 * SAMPLE)))


def pack(value: bytes) -> Packed:
    """*value*, as small as a codec that is quick for its kind makes it."""
    size, check = len(value), zlib.crc32(value)
    if size < SMALL:
        return Packed(Codec.RAW, size, check, value)
    first = value[0]
    # Three looks before a comparison of the whole: nearly every value that is not one byte repeated is told by them.
    if first == value[-1] == value[size // 2] and value == value[:1] * size:
        return Packed(Codec.SAME, size, check, bytes((Codec.SAME, first)))
    bits = entropy(value)
    if bits >= ZSTD_1_BELOW:
        return Packed(Codec.RAW, size, check, value)
    worth = int(size * WORTH)
    if bits < LZ4_BELOW:
        codec, payload = _lz4(value)
        if len(payload) <= worth:
            return Packed(codec, size, check, payload)
    codec, payload = _zstd(value, 3 if bits < ZSTD_3_BELOW else 1)
    if len(payload) <= worth:
        return Packed(codec, size, check, payload)
    return Packed(Codec.RAW, size, check, value)


def unpack(packed: Packed) -> bytes:
    """The value again, checked.

    Raises:
        SerializationError: the payload is damaged, or its codec is not installed here.
    """
    codec, size, check, payload = packed
    try:
        if codec == Codec.RAW:
            value = payload
        elif codec == Codec.SAME:
            value = payload[1:2] * size
        elif codec == Codec.LZ4:
            value = _library("lz4.block").decompress(payload, uncompressed_size=size)
        elif codec == Codec.ZSTD:
            value = _decompressor().decompress(payload, max_output_size=size)
        elif codec == Codec.ZLIB:
            value = zlib.decompress(payload, bufsize=size)
        else:
            raise SerializationError(
                f"cannot read a value of codec {codec}", remedy="a newer duende may have written it"
            )
    except SerializationError:
        raise
    except (
        Exception
    ) as error:  # zstandard.ZstdError and LZ4BlockError are plain exceptions, of packages that may be absent
        raise _damaged(size, f"{type(error).__name__}: {error}") from error
    if len(value) != size or zlib.crc32(value) != check:
        raise _damaged(size, "the checksum is another")
    return value


def lz4_block(block: bytes) -> bytes:
    """*block* by LZ4 as fast as it goes: what `pack` calls for values that repeat themselves.

    Raises:
        SerializationError: the package lz4 is not installed.
    """
    compressed: bytes = _library("lz4.block").compress(block, store_size=False)
    return compressed


def zstd_block(block: bytes, level: int = 1) -> bytes:
    """*block* by Zstandard at *level*: what `pack` calls for values that do not repeat themselves.

    Raises:
        SerializationError: the package zstandard is not installed.
    """
    compressed: bytes = _compressor(level).compress(block)
    return compressed


def _lz4(value: bytes) -> tuple[Codec, bytes]:
    if _installed("lz4.block"):
        return Codec.LZ4, lz4_block(value)
    return Codec.ZLIB, zlib.compress(value, 1)


def _zstd(value: bytes, level: int) -> tuple[Codec, bytes]:
    if _installed("zstandard"):
        # A copy: zstandard keeps the room it reckoned with behind what it returns, which is more than the value had.
        return Codec.ZSTD, memoryview(zstd_block(value, level)).tobytes()
    return Codec.ZLIB, zlib.compress(value, level)


def _damaged(size: int, why: str) -> SerializationError:
    return SerializationError(
        f"a value of {size} bytes is damaged: {why}", remedy="put it again, or recover it from a backup"
    )


@cache
def _installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _library(name: str) -> Any:
    if not _installed(name):
        package = name.partition(".")[0]
        raise SerializationError(
            f"the package {package} is not installed", remedy="pip install 'duende[state]'"
        )
    return importlib.import_module(name)


class _Contexts(threading.local):
    """zstandard's contexts, of this thread: two threads in one of them end the process (zstandard's documentation, "thread safety")."""

    def __init__(self) -> None:
        self.compressors: dict[int, Any] = {}
        self.decompressor: Any = None


_CONTEXTS = _Contexts()


def _compressor(level: int) -> Any:
    found = _CONTEXTS.compressors.get(level)
    if found is None:
        # The checksum is our own, over the value; the size stands beside the payload.
        found = _library("zstandard").ZstdCompressor(
            level=level, write_checksum=False, write_content_size=False
        )
        _CONTEXTS.compressors[level] = found
    return found


def _decompressor() -> Any:
    if _CONTEXTS.decompressor is None:
        _CONTEXTS.decompressor = _library("zstandard").ZstdDecompressor()
    return _CONTEXTS.decompressor
