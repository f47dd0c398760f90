"""What a warden leaves behind when it ends unheard."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from duende.adapters.native.warden import word

EXIT = ("id", 4711, 7, None, False, 1.5, False)


def test_a_word_is_taken_once(tmp_path: Path) -> None:
    """Exits left beside the socket are read by the next one, who removes them."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "warden.sock"))
        word.leave(listener.fileno(), [EXIT])
    assert word.take(str(tmp_path)) == [EXIT]
    assert word.take(str(tmp_path)) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"{}", b"3", json.dumps([[1, 2], 3]).encode()])
def test_nonsense_says_nothing(tmp_path: Path, raw: bytes) -> None:
    """A torn or foreign file is no exit."""
    (tmp_path / word.NAME).write_bytes(raw)
    assert word.take(str(tmp_path)) == []
    assert not (tmp_path / word.NAME).exists()


def test_a_folder_that_takes_no_file_harms_nobody(tmp_path: Path) -> None:
    """Where nothing can be written the word is lost, and nothing else."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "warden.sock"))
        (tmp_path / f"{word.NAME}.new").mkdir()
        word.leave(listener.fileno(), [EXIT])
    assert word.take(str(tmp_path)) == []
