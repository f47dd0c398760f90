"""The journal on a disk that refuses it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from duende.manager import journal
from duende.manager.journal import Journal


def test_what_cannot_be_written_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing changes meanwhile, and yet it is written when there is room."""
    monkeypatch.setattr(journal, "RETRY_AFTER", 0.01)
    told: list[str] = []

    async def with_trouble() -> None:
        kept = Journal(str(tmp_path), dict)
        kept.load()
        changed = asyncio.Event()

        def note(trouble: str) -> None:
            told.append(trouble)
            changed.set()

        kept.on_trouble = note

        def full(path: str, data: bytes) -> None:
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(journal, "write_whole", full)
            kept.touch()
            await asyncio.wait_for(changed.wait(), 10)
        changed.clear()
        await asyncio.wait_for(changed.wait(), 10)
        await kept.close()

    asyncio.run(with_trouble())
    assert told[0].endswith("No space left on device")
    assert told[-1] == ""
    assert len(told) == 2
    assert (tmp_path / "manager.json").exists()
