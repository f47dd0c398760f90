"""The store against a dictionary, and against everything that can become of its files."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duende.errors import AlreadyRunningError, ConfigError, DaemonIOError, SerializationError, StateError
from duende.state import StateStore, store
from duende.state.recovery import load

KEYS = st.text("abc", min_size=1, max_size=2)
CHANGE = st.tuples(st.dictionaries(KEYS, st.binary(max_size=300), max_size=3), st.lists(KEYS, max_size=2))


def contents(folder: Path) -> dict[str, bytes]:
    """What a store in *folder* has."""
    with StateStore(folder, sync=False) as opened:
        return {key: opened[key] for key in opened}


def changed(model: dict[str, bytes], put: dict[str, bytes], delete: list[str]) -> dict[str, bytes]:
    """The model after a commit."""
    return {key: value for key, value in {**model, **put}.items() if key not in delete}


@settings(max_examples=60)
@given(changes=st.lists(CHANGE, max_size=12), often=st.sampled_from([1, 200, 10**9]))
def test_it_is_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[dict[str, bytes], list[str]]],
    often: int,
) -> None:
    """Also after it was opened again, with snapshots at every commit, sometimes, or never."""
    folder = tmp_path_factory.mktemp("state")
    model: dict[str, bytes] = {}
    with StateStore(folder, sync=False, snapshot_after=often) as opened:
        for number, (put, delete) in enumerate(changes, 1):
            assert opened.write(put, delete) == number
            model = changed(model, put, delete)
            assert {key: opened[key] for key in opened} == model
    with StateStore(folder, sync=False) as opened:
        assert {key: opened[key] for key in opened} == model
        assert opened.version == opened.recovered.version == len(changes)
        assert opened.recovered.clean
        assert len(list(folder.glob("*.snapshot"))) <= 2


def made(folder: Path, commits: int = 4) -> list[dict[str, bytes]]:
    """A store with a snapshot before, one in force, and commits behind it; the state after each commit."""
    states: list[dict[str, bytes]] = [{}]
    with StateStore(folder, sync=False) as opened:
        for number in range(commits):
            put = {f"key{number}": bytes((number,)) * 200, "last": str(number).encode()}
            opened.write(put)
            states.append(changed(states[-1], put, []))
            if number == 1:
                opened.snapshot()
    return states


def test_a_log_cut_at_any_byte(tmp_path: Path) -> None:
    """Has the last commit that is whole in it, says what was cut, and takes commits again."""
    states = made(tmp_path / "whole")
    log = max((tmp_path / "whole").glob("*.log"))
    for size in range(log.stat().st_size):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        os.truncate(folder / log.name, size)
        with StateStore(folder, sync=False) as opened:
            found = {key: opened[key] for key in opened}
            assert found == states[opened.version]
            assert opened.recovered.clean, opened.recovered.problems
            assert opened.version >= 2
            assert opened.put("more", b"1") == opened.version
        assert contents(folder) == {**found, "more": b"1"}
        shutil.rmtree(folder)


def test_any_byte_changed(tmp_path: Path) -> None:
    """In any file: the state is that of a version that was, nothing else; what is lost behind it is said, and the file is kept aside."""
    states = made(tmp_path / "whole")
    names = sorted(each.name for each in (tmp_path / "whole").iterdir())
    assert len(names) == 4
    for name in names:
        data = (tmp_path / "whole" / name).read_bytes()
        for at in range(len(data)):
            folder = tmp_path / "changed"
            shutil.copytree(tmp_path / "whole", folder)
            damaged = bytearray(data)
            damaged[at] ^= 0x41
            (folder / name).write_bytes(damaged)
            if at == 6 and name in names[2:]:  # the version of the format, in a file that is read
                with pytest.raises(SerializationError, match="version"):
                    StateStore(folder, sync=False)
                assert (folder / name).read_bytes() == damaged
            else:
                with StateStore(folder, sync=False) as opened:
                    found = {key: opened[key] for key in opened}
                    assert found == states[opened.version], (name, at)
                    if name.endswith("snapshot"):
                        assert opened.version == 4, "a snapshot that is damaged loses nothing"
                    assert opened.version == 4 or not opened.recovered.clean
                    assert all(Path(each).exists() for each in opened.recovered.set_aside)
                assert contents(folder) == found, "once recovered, it stays"
            shutil.rmtree(folder)


@given(data=st.binary(max_size=200), name=st.sampled_from(["000000000009.log", "000000000009.snapshot"]))
def test_a_foreign_file(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    """That has the name of one of ours is set aside, with what is in it, and nothing else is lost."""
    folder = tmp_path_factory.mktemp("foreign")
    states = made(folder)
    (folder / name).write_bytes(data)
    with StateStore(folder, sync=False) as opened:
        assert {key: opened[key] for key in opened} == states[-1]
        if len(data) >= 20:
            assert [Path(each).read_bytes() for each in opened.recovered.set_aside] == [data]
            assert not opened.recovered.clean


def test_the_middle_of_a_log_damaged_and_a_later_one(tmp_path: Path) -> None:
    """Nothing behind a hole is taken: a commit stands on those before it."""
    states = made(tmp_path, commits=3)
    with StateStore(tmp_path, sync=False) as opened:
        opened.snapshot()
        opened.put("after", b"1")
    newest = max(tmp_path.glob("*.snapshot"))
    newest.write_bytes(b"nothing of ours, and long enough")
    log = sorted(tmp_path.glob("*.log"))[-2]
    data = bytearray(log.read_bytes())
    data[-1] ^= 1
    log.write_bytes(data)
    with StateStore(tmp_path, sync=False) as opened:
        assert {key: opened[key] for key in opened} == states[2]
        assert len(opened.recovered.set_aside) == 3
        assert any("lost" in each for each in opened.recovered.problems)
        opened.put("again", b"1")
    assert contents(tmp_path) == {**states[2], "again": b"1"}


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second one is refused, and a closed one too."""
    with StateStore(tmp_path) as opened:
        with pytest.raises(AlreadyRunningError, match="open already"):
            StateStore(tmp_path)
        opened.put("a", b"1")
    with pytest.raises(StateError, match="closed"):
        opened.put("a", b"2")
    opened.close()


@pytest.mark.parametrize(
    ("put", "word"),
    [
        ({"": b""}, "no key"),
        ({"a": "text"}, "type str"),
        ({"\ud800": b""}, "UTF-8"),
        ({"k" * 5000: b""}, "no key"),
    ],
)
def test_what_is_not_taken(tmp_path: Path, put: dict[str, bytes], word: str) -> None:
    """Is told with its remedy, and changes nothing."""
    with StateStore(tmp_path) as opened:
        with pytest.raises(ConfigError, match=word):
            opened.write({"fine": b"1", **put})
        assert len(opened) == opened.version == 0


def test_commits_at_once_are_synchronised_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own version, and much fewer synchronisations than commits."""
    calls: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        calls.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)

    async def all_of_them() -> list[int]:
        with StateStore(tmp_path) as opened:
            return await asyncio.gather(*(opened.commit({f"k{n}": b"v"}) for n in range(500)))

    assert sorted(asyncio.run(all_of_them())) == list(range(1, 501))
    assert len(calls) < 10
    assert len(contents(tmp_path)) == 500


async def committed(opened: StateStore) -> int:
    """A commit from a loop."""
    return await opened.commit({"a": b"3"})


def refuses(monkeypatch: pytest.MonkeyPatch, name: str, code: int, allowed: int = 0) -> None:
    """Make a call of os fail after *allowed* bytes of the first write."""
    real = os.pwrite

    def failing(fd: int, data: bytes, at: int) -> int:
        if name == "fdatasync":
            raise OSError(code, os.strerror(code))
        if allowed and len(data) > allowed:
            return real(fd, data[:allowed], at)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, failing if name == "pwrite" else lambda fd: failing(fd, b"", 0))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses the commit half-way: the state is as it was, in memory and on disk, and goes on when there is room."""
    with StateStore(tmp_path) as opened:
        opened.put("a", b"1")
        with monkeypatch.context() as patch:
            refuses(patch, "pwrite", errno.ENOSPC, allowed=10)
            with pytest.raises(DaemonIOError, match="make room") as caught:
                opened.put("a", b"2")
            assert caught.value.errno == errno.ENOSPC
            assert opened["a"] == b"1"
            with pytest.raises(DaemonIOError):
                opened.snapshot()
        opened.put("b", b"3")
    with StateStore(tmp_path) as opened:
        assert {key: opened[key] for key in opened} == {"a": b"1", "b": b"3"}
        assert opened.recovered.clean
        assert opened.recovered.torn_bytes == 0


def test_room_for_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds up no commit."""
    with StateStore(tmp_path, snapshot_after=10) as opened, monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise DaemonIOError("full", errno=errno.ENOSPC, path="x")

        patch.setattr(opened, "_begin", full)
        for number in range(5):
            opened.put("a", bytes((number,)))
    assert contents(tmp_path) == {"a": b"\x04"}


def test_a_disk_that_cannot_synchronise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is believed once: nobody knows what it kept, and the store is given up until it is opened again."""
    with StateStore(tmp_path) as opened:
        opened.put("a", b"1")
        with monkeypatch.context() as patch:
            refuses(patch, "fdatasync", errno.EIO)
            with pytest.raises(DaemonIOError, match="synchronise"):
                opened.put("a", b"2")
        with pytest.raises(StateError, match="given up"):
            opened.put("a", b"3")
        with pytest.raises(StateError, match="given up"):
            asyncio.run(committed(opened))
    assert contents(tmp_path)["a"] in (b"1", b"2")


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """Is told with its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DaemonIOError, match="file"):
        StateStore(tmp_path / "file")


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """What `load` finds is only read."""
    made(tmp_path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert load(str(tmp_path)).version == 4
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_sizes(tmp_path: Path) -> None:
    """Of what is in it and what is kept of it."""
    with StateStore(tmp_path) as opened:
        opened.put("zero", bytes(4096))
        assert opened.sizes() == (4096, 2)
        assert "zero" in opened
        assert opened.get("none") is None
        assert store.StateStore is StateStore
