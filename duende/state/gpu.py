"""Many values at once on an NVIDIA GPU, by NVIDIA's own nvCOMP and its maintained package (the extra `gpu-state`). The store does not use it: a
daemon that has thousands of pages to keep at one time may.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from duende.errors import NotSupportedError


class GpuCompressor:
    """LZ4 of a batch: blocks of LZ4's own format, without a header, so that processors read them too."""

    def __init__(self) -> None:
        """On the present GPU.

        Raises:
            NotSupportedError: nvCOMP is not installed, or there is no GPU that it can use.
        """
        try:
            numpy: Any = importlib.import_module("numpy")
            nvcomp: Any = importlib.import_module("nvidia.nvcomp")
        except ImportError as error:
            raise NotSupportedError(
                "this Python", "compress on a GPU", remedy=f"pip install 'duende[gpu-state]' ({error})"
            ) from error
        self._numpy = numpy
        self._nvcomp = nvcomp
        try:
            self._codec: Any = nvcomp.Codec(algorithm="LZ4", bitstream_kind=nvcomp.BitstreamKind.RAW)
        except Exception as error:  # what it raises is not documented: RuntimeError, of the driver's words
            raise NotSupportedError(
                "this machine", "compress on a GPU", remedy=f"check the driver with nvidia-smi ({error})"
            ) from error

    def batch(self, values: Sequence[bytes]) -> list[bytes]:
        """A block of each value, in their order: copied to the GPU together, compressed side by side, and copied back."""
        there = [
            self._nvcomp.as_array(self._numpy.frombuffer(value, self._numpy.uint8)).cuda() for value in values
        ]
        return [self._numpy.asarray(block.cpu()).tobytes() for block in self._codec.encode(there)]
