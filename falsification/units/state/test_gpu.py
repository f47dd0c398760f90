"""A batch on a GPU, with a stand-in of nvCOMP that does its work on the processor: order, format and what is said where there is none."""

from __future__ import annotations

import sys
import types
from typing import Any

import lz4.block
import pytest

from duende.errors import NotSupportedError
from duende.state.gpu import GpuCompressor


class Array:
    """An array of nvCOMP's, in host memory."""

    def __init__(self, raw: bytes, *, there: bool = False) -> None:
        self.raw = raw
        self.there = there

    def cuda(self) -> Array:
        """On the GPU."""
        return Array(self.raw, there=True)

    def cpu(self) -> Array:
        """Back."""
        assert self.there
        return Array(self.raw)

    def tobytes(self) -> bytes:
        """As NumPy's."""
        assert not self.there
        return self.raw


class Codec:
    """LZ4 without a header."""

    def __init__(self, **options: Any) -> None:
        assert options == {"algorithm": "LZ4", "bitstream_kind": "raw"}

    def encode(self, arrays: list[Array]) -> list[Array]:
        """Compress them."""
        assert all(each.there for each in arrays)
        return [Array(lz4.block.compress(each.raw, store_size=False), there=True) for each in arrays]


def nvcomp(codec: Any) -> types.ModuleType:
    """The package."""
    made = types.ModuleType("nvidia.nvcomp")
    made.Codec = codec  # type: ignore[attr-defined]
    made.BitstreamKind = types.SimpleNamespace(RAW="raw")  # type: ignore[attr-defined]
    made.as_array = lambda array: array  # type: ignore[attr-defined]
    return made


@pytest.fixture
def numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used of NumPy."""
    stand_in = types.ModuleType("numpy")
    stand_in.frombuffer = lambda raw, _: Array(raw)  # type: ignore[attr-defined]
    stand_in.asarray = lambda array: array  # type: ignore[attr-defined]
    stand_in.uint8 = "u1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numpy", stand_in)


@pytest.mark.usefixtures("numpy")
def test_a_batch_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value is a block that LZ4 reads."""
    monkeypatch.setitem(sys.modules, "nvidia.nvcomp", nvcomp(Codec))
    values = [bytes([number]) * 4096 for number in range(50)]
    blocks = GpuCompressor().batch(values)
    assert [lz4.block.decompress(block, uncompressed_size=4096) for block in blocks] == values
    assert GpuCompressor().batch([]) == []


@pytest.mark.usefixtures("numpy")
def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's words are in the error."""

    def refuses(**_: Any) -> None:
        raise RuntimeError("CUDA driver version is insufficient")

    monkeypatch.setitem(sys.modules, "nvidia.nvcomp", nvcomp(refuses))
    with pytest.raises(NotSupportedError, match=r"nvidia-smi \(CUDA driver"):
        GpuCompressor()


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is named."""
    monkeypatch.setitem(sys.modules, "nvidia.nvcomp", None)
    with pytest.raises(NotSupportedError, match="gpu-state"):
        GpuCompressor()
