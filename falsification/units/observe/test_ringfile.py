"""A ring of records on disk: what was appended is found again, whatever became of the file."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import ConfigError, DaemonIOError, SerializationError
from duende.observe.ringfile import HEAD, RingFile

WIDTH, CAPACITY = 8, 10
RECORD = 8 + WIDTH + 4


def payload(number: int) -> bytes:
    """One that tells which it is."""
    return number.to_bytes(WIDTH, "little")


def filled(path: Path, count: int) -> bytes:
    """A file of so many appended one by one; its bytes."""
    file = RingFile(str(path), WIDTH, CAPACITY)
    for number in range(count):
        file.append([payload(number)])
    file.close()
    return path.read_bytes()


def found(path: Path) -> list[int]:
    """What is read by whoever opens it."""
    file = RingFile(str(path), WIDTH, CAPACITY)
    try:
        return [int.from_bytes(each, "little") for each in file]
    finally:
        file.close()


@given(st.lists(st.integers(0, 25), max_size=12), st.integers(0, 12))
def test_the_last_are_kept_in_their_order(batches: list[int], reopened: int) -> None:
    """However many come at once, and whoever goes on with the file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ring"
        file = RingFile(str(path), WIDTH, CAPACITY)
        done = 0
        for turn, count in enumerate(batches):
            if turn == reopened:
                file.close()
                file = RingFile(str(path), WIDTH, CAPACITY)
            file.append([payload(number) for number in range(done, done + count)])
            done += count
        file.close()
        assert found(path) == list(range(max(0, done - CAPACITY), done))
        assert path.stat().st_size <= HEAD + CAPACITY * RECORD


@pytest.mark.parametrize("count", [7, CAPACITY, 23])
def test_cut_at_every_byte(tmp_path: Path, count: int) -> None:
    """Whole records are found, and no other; the next writer goes on after them."""
    path = tmp_path / "ring"
    raw = filled(path, count)
    kept = range(max(0, count - CAPACITY), count)
    for size in range(HEAD, len(raw)):
        path.write_bytes(raw[:size])
        whole = [number for number in kept if number % CAPACITY < (size - HEAD) // RECORD]
        assert found(path) == whole
        file = RingFile(str(path), WIDTH, CAPACITY)
        assert file.damaged == ((size - HEAD) % RECORD != 0)
        file.append([payload(99)])
        file.close()
        assert found(path)[-1] == 99


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """In a record that one is missing; in the head the file is refused, and stays."""
    path = tmp_path / "ring"
    raw = filled(path, 13)
    for at in range(len(raw)):
        hurt = bytearray(raw)
        hurt[at] ^= 0x40
        path.write_bytes(hurt)
        if at < HEAD:
            with pytest.raises(SerializationError, match="no history"):
                RingFile(str(path), WIDTH, CAPACITY)
            assert path.read_bytes() == hurt
        else:
            assert found(path) == [
                number for number in range(3, 13) if number % CAPACITY != (at - HEAD) // RECORD
            ]


def test_what_is_no_such_file(tmp_path: Path) -> None:
    """Something else, a folder, sizes that make no sense."""
    path = tmp_path / "ring"
    path.write_text("a diary")
    with pytest.raises(SerializationError, match="no history of 10 records of 8 bytes"):
        RingFile(str(path), WIDTH, CAPACITY)
    with pytest.raises(DaemonIOError, match="cannot open the history"):
        RingFile(str(tmp_path), WIDTH, CAPACITY)
    with pytest.raises(ConfigError):
        RingFile(str(path), 0, CAPACITY)
    path.unlink()
    file = RingFile(str(path), WIDTH, CAPACITY)
    with pytest.raises(ValueError, match="of 8 bytes"):
        file.append([b"short"])
    file.close()


def test_a_writer_that_is_killed(tmp_path: Path) -> None:
    """What it had appended is there, in order and without a gap."""
    path = tmp_path / "ring"
    text = (
        "import sys\nfrom duende.observe.ringfile import RingFile\n"
        f"file = RingFile(sys.argv[1], {WIDTH}, 1000000)\n"
        "for number in range(1000000):\n"
        f"    file.append([number.to_bytes({WIDTH}, 'little')])\n"
        "    if number == 500: print('many', flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", text, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "many\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    file = RingFile(str(path), WIDTH, 1_000_000)
    numbers = [int.from_bytes(each, "little") for each in file]
    file.close()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 500


@pytest.mark.skipif(
    shutil.which("unshare") is None or os.geteuid() != 0, reason="needs a file system of its own"
)
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """It is told, what was there before stays, and once there is room it goes on."""
    text = (
        "import sys, os, errno\nfrom duende.observe.ringfile import RingFile\nfrom duende.errors import DaemonIOError\n"
        "file = RingFile(sys.argv[1] + '/ring', 1000, 1000)\n"
        "with open(sys.argv[1] + '/other', 'wb') as other:\n    other.write(bytes(200000))\n"
        "done = 0\n"
        "try:\n    while True:\n        file.append([bytes([done]) * 1000]); done += 1\n"
        "except DaemonIOError as error:\n    print(error.errno)\n"
        "os.unlink(sys.argv[1] + '/other')\nfile.append([bytes([done]) * 1000])\nfile.close()\n"
        "print(done > 10 and [each[0] for each in RingFile(sys.argv[1] + '/ring', 1000, 1000)] == list(range(done + 1)))\n"
    )
    shell = 'mount -t tmpfs -o size=256k none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, "sh", str(tmp_path), sys.executable, text],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == [str(errno.ENOSPC), "True"], done.stderr
