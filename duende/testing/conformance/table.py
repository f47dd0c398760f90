"""The capability matrix: what each adapter promises, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from duende.adapters.contract import Capabilities


def capability_table(adapters: Mapping[str, Capabilities]) -> str:
    """A table of plain text, one column for each adapter by its name."""
    names = list(adapters)
    first = max(len(field.name) for field in msgspec.structs.fields(Capabilities))
    lines = [" " * first + "".join(f"  {name}" for name in names)]
    for field in msgspec.structs.fields(Capabilities):
        cells = ("yes" if getattr(adapters[name], field.name) else "-" for name in names)
        row = "".join(f"  {cell:<{len(name)}}" for cell, name in zip(cells, names, strict=True))
        lines.append(f"{field.name:<{first}}{row}".rstrip())
    return "\n".join(lines)
