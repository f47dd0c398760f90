"""What GPUs do, through NVIDIA's own management library by its maintained package (nvidia-ml-py); nothing where there is none of these."""

from __future__ import annotations

from typing import Any, NamedTuple


class GpuSample(NamedTuple):
    """One GPU at one moment; None is what it does not tell."""

    number: int
    name: str
    utilisation_percent: float | None
    memory_bytes: int | None
    memory_total_bytes: int | None


def gpus() -> list[GpuSample] | None:
    """Every GPU now; None on a machine without one, without its driver, or without the package."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None  # no driver, or no card
    try:
        found = [_sample(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
    return found or None


def _sample(nvml: Any, index: int) -> GpuSample:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)

    def told(question: str) -> Any:
        try:
            return getattr(nvml, question)(handle)
        except nvml.NVMLError:
            return None  # this card does not tell

    rates, memory = told("nvmlDeviceGetUtilizationRates"), told("nvmlDeviceGetMemoryInfo")
    return GpuSample(
        index,
        name.decode() if isinstance(name, bytes) else str(name),
        None if rates is None else float(rates.gpu),
        None if memory is None else int(memory.used),
        None if memory is None else int(memory.total),
    )
