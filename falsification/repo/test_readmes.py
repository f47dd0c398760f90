"""Documents name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

from falsification.repo.sources import ROOT

TOP = {path.name for path in ROOT.iterdir()}
GENERATED = ("reports/out", "bench/out", ".nox", ".venv", "node_modules")
"""What a run makes: named in documents, absent from a fresh clone."""
PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|toml|md|json|mjs|yml))`")
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/**/README.md")]
    if not any(part in {".nox", "node_modules", "out"} for part in path.parts)
)


def _named(document: Path) -> set[str]:
    return set(PATH.findall(document.read_text(encoding="utf-8")))


def _exists(name: str, document: Path) -> bool:
    if name.startswith(("/", "~")) or any(name.startswith(generated) for generated in GENERATED):
        return True  # of the reader's machine, or made by a run
    if "/" in name and name.split("/")[0] not in TOP and not (document.parent / name.split("/")[0]).exists():
        return True  # not a path of this repository: a media type, a branch, a socket
    return (ROOT / name).exists() or (document.parent / name).exists()


def test_every_path_named_exists() -> None:
    """Every path in backquotes in a README or a document of the top folder exists."""
    missing = [
        f"{document.relative_to(ROOT)}: {name}"
        for document in DOCUMENTS
        for name in sorted(_named(document))
        if "/" in name and not _exists(name, document)
    ]
    assert not missing, "\n".join(missing)


def test_every_folder_has_a_map() -> None:
    """Each top folder with code has a README, or the library's own documentation in its docstring."""
    assert [name for name in ("falsification", "reports") if not (ROOT / name / "README.md").exists()] == []
