"""The native adapter: daemons as plain processes of this system.

`adapter.py` has the verbs, `render.py` and `parse.py` are pure, and `warden/` is the small helper process that is the parent of
every daemon: it starts them quickly, reaps them and their orphans, stops them with proof, and keeps their output.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.adapters.native.adapter import NativeAdapter as NativeAdapter

__all__ = ["NativeAdapter"]


def __getattr__(name: str) -> object:
    if name == "NativeAdapter":
        from duende.adapters.native.adapter import NativeAdapter

        return NativeAdapter
    raise AttributeError(f"module 'duende.adapters.native' has no attribute {name!r}")
