"""Adapters: one folder for each platform, imported on demand (`duende.adapters.choose`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.adapters.native.adapter import NativeAdapter as NativeAdapter

__all__ = ["NativeAdapter"]


def __getattr__(name: str) -> object:
    if name == "NativeAdapter":
        from duende.adapters.native.adapter import NativeAdapter

        return NativeAdapter
    raise AttributeError(f"module 'duende.adapters' has no attribute {name!r}")
