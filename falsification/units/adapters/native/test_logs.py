"""Log files: appended, rotated, read back, and honest about what was lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.native import logs
from duende.adapters.native.warden.logfile import LogFile
from duende.errors import SpawnError


@given(
    st.lists(
        st.binary(min_size=1, max_size=400).map(lambda raw: raw.replace(b"\n", b"x") + b"\n"), max_size=40
    ),
    st.integers(64, 600),
)
def test_nothing_is_lost_or_reordered_by_rotation(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], limit: int
) -> None:
    """All files together hold every byte in order, and none is larger than allowed."""
    path = tmp_path_factory.mktemp("rotate") / "x.log"
    log = LogFile(str(path), limit, 500)
    for line in lines:
        log.write(line)
    files = [file for number in range(500, 0, -1) if (file := Path(f"{path}.{number}")).exists()] + (
        [path] if path.exists() else []
    )
    assert b"".join(file.read_bytes() for file in files) == b"".join(lines)
    assert all(file.stat().st_size <= limit for file in files)
    assert log.lost_total == 0


def test_old_archives_are_dropped(tmp_path: Path) -> None:
    """Only as many archives as configured are kept; with none the file starts anew."""
    for backups, expected in ((2, ["x.log", "x.log.1", "x.log.2"]), (0, ["x.log"])):
        folder = tmp_path / str(backups)
        log = LogFile(str(folder / "x.log"), 100, backups)
        for number in range(20):
            log.write(b"%060d\n" % number)
        assert sorted(os.listdir(folder)) == expected


def test_deleted_and_moved_files_are_replaced(tmp_path: Path) -> None:
    """A log that was deleted under its writer goes on in a new file, its folder too."""
    path = tmp_path / "deep" / "x.log"
    log = LogFile(str(path), 1000, 1)
    log.write(b"one\n")
    path.unlink()
    path.parent.rmdir()
    log._next_check = 0.0
    log.write(b"two\n")
    assert path.read_text().splitlines() == [
        "[duende: 4 bytes of output were lost: the log was deleted]",
        "two",
    ]


def test_what_went_into_a_deleted_file_is_counted(tmp_path: Path) -> None:
    """Bytes written between the deletion and its discovery are lost, and said to be; a file moved away keeps its own."""
    path = tmp_path / "x.log"
    log = LogFile(str(path), 10_000, 1)
    log.write(b"before\n")
    log._next_check = 0.0
    log.write(b"seen in its place\n")
    path.unlink()
    log.write(b"into nowhere\n")
    log._next_check = 0.0
    log.write(b"after\n")
    assert log.lost_total == len(
        b"seen in its place\ninto nowhere\n"
    )  # since it was last seen there: at most too many
    assert path.read_text().splitlines()[-1] == "after"
    log._next_check = 0.0
    path.rename(tmp_path / "moved.log")
    log.write(b"again\n")
    assert log.lost_total == len(b"seen in its place\ninto nowhere\n")


def test_what_cannot_be_written_is_counted_and_marked(tmp_path: Path) -> None:
    """Bytes dropped while the log cannot be opened are counted, and the log says so as soon as it can."""
    (tmp_path / "file").write_text("in the way")
    log = LogFile(str(tmp_path / "file" / "x.log"), 1000, 1)
    log.write(b"12345")
    log.write(b"67890")
    assert (log.lost_total, log.take_lost(), log.take_lost()) == (10, 10, 0)
    assert log.why
    (tmp_path / "file").unlink()
    log._next_try = 0.0
    log.write(b"back\n")
    assert (tmp_path / "file" / "x.log").read_bytes().startswith(b"[duende: 10 bytes of output were lost")


def test_the_mark_has_a_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the disk was full in the middle of a line."""
    log = LogFile(str(tmp_path / "x.log"), 1000, 1)
    real = os.write
    room = 6

    def full(fd: int, data: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(28, "No space left on device")
        written = real(fd, data[:room])
        room -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.write(b"first line\n")
    log.write(b"second line\n")
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert lines == [
        "first ",
        "[duende: 5 bytes of output were lost: No space left on device]",
        "second line",
    ]


def test_tail_reads_across_archives(tmp_path: Path) -> None:
    """The last lines are found, going back into rotated files; a missing log has none."""
    path = tmp_path / "x.log"
    log = LogFile(str(path), 100, 9)
    for number in range(50):
        log.write(b"line %d\n" % number)
    assert logs.tail(str(path), 1) == ["line 49"]
    assert logs.tail(str(path), 30) == [f"line {number}" for number in range(20, 50)]
    assert logs.tail(str(tmp_path / "none.log"), 5) == []
    assert logs.tail(str(path), 0) == []


def test_unwritable_log_stops_the_start(tmp_path: Path) -> None:
    """A log that cannot be written is a start error with errno and path; a good one is created."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpawnError, match="cannot write the log") as caught:
        logs.prepare(str(tmp_path / "file" / "x.log"))
    assert caught.value.errno in (17, 20)
    assert caught.value.step == "log"
    logs.prepare(str(tmp_path / "new" / "x.log"))
    assert (tmp_path / "new" / "x.log").exists()
