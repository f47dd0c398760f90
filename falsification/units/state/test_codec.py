"""Values come back as they were, whatever they are; damage is told; every kind of value gets the codec that is for it."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import SerializationError
from duende.state.codec import Codec, Packed, _installed, entropy, pack, unpack

PAGE = 4096
VALUES = st.one_of(
    st.binary(max_size=600),
    st.builds(lambda each, count: each * count, st.binary(min_size=1, max_size=40), st.integers(1, 400)),
    st.builds(
        lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.integers(0, 9000)
    ),
)


def text(size: int) -> bytes:
    """Lines of a log."""
    line = "2026-11-26T12:00:{:02} INFO request {} took {} ms\n"
    return "".join(line.format(n % 60, n, n * 7 % 90) for n in range(size // 40 + 1)).encode()[:size]


@given(value=VALUES)
def test_a_value_comes_back(value: bytes) -> None:
    """And is never kept in more than it has."""
    packed = pack(value)
    assert unpack(packed) == value
    assert len(packed.payload) <= max(len(value), 2)


@pytest.mark.parametrize("fill", [0, 1, 255])
@pytest.mark.parametrize("size", [128, 129, PAGE, 100_000])
def test_one_byte_repeated_takes_two(fill: int, size: int) -> None:
    """The mark and the byte."""
    packed = pack(bytes((fill,)) * size)
    assert (packed.codec, len(packed.payload)) == (Codec.SAME, 2)
    assert unpack(packed) == bytes((fill,)) * size


@pytest.mark.parametrize("at", [0, 1, PAGE // 2, PAGE - 2, PAGE - 1])
def test_one_other_byte_is_seen(at: int) -> None:
    """Wherever it stands."""
    value = bytes(at) + b"x" + bytes(PAGE - at - 1)
    assert pack(value).codec != Codec.SAME
    assert unpack(pack(value)) == value


def test_each_kind_has_its_codec() -> None:
    """Text that repeats itself LZ4; digits that do not Zstandard; noise raw."""
    dice = random.Random(7)
    assert pack(text(PAGE)).codec == Codec.LZ4
    assert pack(dice.randbytes(PAGE // 2).hex().encode()).codec == Codec.ZSTD
    assert pack(dice.randbytes(PAGE)).codec == Codec.RAW
    assert pack(b"short" * 3).codec == Codec.RAW


@given(value=st.binary(min_size=400, max_size=900), at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_told(value: bytes, at: int, bit: int) -> None:
    """In the payload of any codec."""
    packed = pack(value * 4)
    damaged = bytearray(packed.payload)
    damaged[at % len(damaged)] ^= 1 << bit
    try:
        found = unpack(packed._replace(payload=bytes(damaged)))
    except SerializationError as error:
        assert "damaged" in str(error)
    else:
        assert found == value * 4  # a bit that means nothing in the format of the codec


@given(
    codec=st.integers(0, 9), size=st.integers(0, 5000), check=st.integers(0, 2**32 - 1), payload=st.binary()
)
def test_nonsense_is_refused(codec: int, size: int, check: int, payload: bytes) -> None:
    """With one kind of error."""
    packed = Packed(codec, size, check, payload)
    try:
        assert len(unpack(packed)) == size
    except SerializationError:
        pass  # what is wanted


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zlib does it, and what LZ4 wrote is refused with the remedy."""
    written = pack(text(PAGE))
    monkeypatch.setattr("duende.state.codec._installed", lambda _: False)
    packed = pack(text(PAGE))
    assert packed.codec == Codec.ZLIB
    assert unpack(packed) == text(PAGE)
    with pytest.raises(SerializationError, match=r"pip install 'duende\[state\]'"):
        unpack(written)


def test_a_missing_package_is_seen() -> None:
    """By its name."""
    assert _installed("zlib")
    assert not _installed("no_such_package_as_this")


def test_entropy_is_that_of_shannon() -> None:
    """Nothing, one of two, and of all bytes once."""
    assert entropy(b"") == 0
    assert entropy(b"a" * 99) == 0
    assert entropy(b"ab" * 64 + b"ab") == pytest.approx(1)
    assert entropy(bytes(range(256))) == pytest.approx(8)


THREADS = """
import random, sys
from concurrent.futures import ThreadPoolExecutor
from duende.state.codec import pack, unpack
def work(seed):
    draw = random.Random(seed)
    for _ in range(200):
        value = bytes(draw.choices(range(100), k=20000))
        assert unpack(pack(value)) == value
with ThreadPoolExecutor(8) as pool:
    list(pool.map(work, range(8)))
print("well")
"""


def test_several_threads_at_once() -> None:
    """Each has contexts of its own: sharing one ends the process by SIGSEGV, so this is a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
