"""The last good version of a store, from whatever its files have become. What cannot be read is set aside and told, never overwritten."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import msgspec

from duende.errors import DaemonIOError, SerializationError
from duende.state.codec import Packed
from duende.state.frames import HEADER, LOG, SNAPSHOT, Scan, scan

NAME = re.compile(r"(\d{12})\.(log|snapshot)")


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What opening a store found."""

    version: int
    """The version of the state that was recovered: the number of commits since the store was made."""
    torn_bytes: int = 0
    """Bytes of a write at the end that was cut: nobody was told that it was done, unless the disk lied or the file was cut later."""
    set_aside: tuple[str, ...] = ()
    """Files that could not be read to their end, under their new names."""
    problems: tuple[str, ...] = ()
    """What was wrong, and what is lost by it; empty when nothing was."""

    @property
    def clean(self) -> bool:
        """Whether everything was there: a cut write that nobody was told to be done is no loss."""
        return not self.problems


@dataclass
class Loaded:
    """A store's files, read."""

    entries: dict[str, Packed] = field(default_factory=dict)
    version: int = 0
    newest: int = 0
    """The highest generation of any file."""
    log: tuple[int, int] | None = None
    """Generation of the log to go on with, and its good bytes; None where a new one has to be begun."""
    torn_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    """Names of files to set aside."""
    problems: list[str] = field(default_factory=list)


def name_of(generation: int, kind: str) -> str:
    """The name of the file of a *generation*: "log" or "snapshot"."""
    return f"{generation:012}.{kind}"


def load(folder: str) -> Loaded:
    """Read the files of *folder*; nothing is changed.

    Raises:
        DaemonIOError: a file cannot be read at all.
        SerializationError: a newer duende wrote them.
    """
    loaded = Loaded()
    found: dict[str, list[int]] = {"log": [], "snapshot": []}
    for name in os.listdir(folder):
        if (match := NAME.fullmatch(name)) is not None:
            found[match[2]].append(int(match[1]))
    loaded.newest = max([*found["log"], *found["snapshot"]], default=0)
    base = 0
    for generation in sorted(found["snapshot"], reverse=True):
        if _took_snapshot(loaded, folder, generation):
            base = generation
            break
    _follow_logs(loaded, folder, sorted(each for each in found["log"] if each >= base))
    return loaded


def _took_snapshot(loaded: Loaded, folder: str, generation: int) -> bool:
    name = name_of(generation, "snapshot")
    read = _scanned(loaded, folder, name, SNAPSHOT)
    if read is None:
        return False
    operations = [each for frame in read.frames for each in frame.operations]
    finished = bool(read.frames) and read.frames[-1].keys == len(operations)
    if read.problem or not finished or read.generation != generation:
        why = read.problem or ("it was not finished" if not finished else "it has another's generation")
        _set_aside(loaded, name, f"{name}: {why}; the snapshot before it and its log are used")
        return False
    loaded.entries = {key: packed for key, packed in operations if packed is not None}
    loaded.version = read.frames[-1].version
    return True


def _follow_logs(loaded: Loaded, folder: str, generations: list[int]) -> None:
    for place, generation in enumerate(generations):
        name = name_of(generation, "log")
        last = place == len(generations) - 1
        read = _scanned(loaded, folder, name, LOG, last=last)
        why = (
            read.problem if read is not None and read.generation == generation else "its head cannot be used"
        )
        for frame in read.frames if read is not None and read.generation == generation else ():
            if frame.version <= loaded.version:
                continue
            if frame.version != loaded.version + 1:
                why = f"version {loaded.version + 1} is missing"
                break
            for key, packed in frame.operations:
                if packed is None:
                    loaded.entries.pop(key, None)
                else:
                    loaded.entries[key] = packed
            loaded.version = frame.version
        if read is not None and not why:
            loaded.log = (generation, read.good)
            continue
        size = os.path.getsize(os.path.join(folder, name))
        if read is not None and read.torn and last and why == read.problem:
            loaded.torn_bytes = size - read.good
            loaded.log = (generation, read.good)
            return
        if size < HEADER.size and last:  # cut while it was begun: nothing was in it yet
            loaded.torn_bytes = size
            loaded.log = None
            return
        lost = size - read.good if read is not None and read.problem else size
        _set_aside(
            loaded,
            name,
            f"{name}: {why}; the state is that of version {loaded.version}, {lost} bytes behind it are lost",
        )
        for later in generations[place + 1 :]:
            _set_aside(loaded, name_of(later, "log"), f"{name_of(later, 'log')} goes on from what is lost")
        loaded.log = None
        return


def _scanned(loaded: Loaded, folder: str, name: str, magic: bytes, *, last: bool = False) -> Scan | None:
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DaemonIOError.of("read the state in", path, error, "see that this user may read it") from error
    # Of a newer duende: no damage, and nothing to be set aside by an older one.
    if len(data) >= HEADER.size and data[:6] == magic[:6] and data[6] > magic[6] and data[7:8] == magic[7:8]:
        raise SerializationError(
            f"{path} has version {data[6]} of the format, and this duende reads {magic[6]}",
            remedy="use the duende that wrote it",
        )
    try:
        return scan(data, magic)
    except SerializationError as error:
        if magic is SNAPSHOT:
            _set_aside(loaded, name, f"{name}: {error.problem}")
        elif not last or len(data) >= HEADER.size:
            loaded.problems.append(f"{name}: {error.problem}")
        return None


def _set_aside(loaded: Loaded, name: str, problem: str) -> None:
    loaded.damaged.append(name)
    loaded.problems.append(problem)


def move_aside(folder: str, names: list[str]) -> list[str]:
    """Give damaged files names under which nobody takes them for good ones; the new paths."""
    moved = []
    for name in names:
        for number in range(1000):
            aside = os.path.join(folder, f"{name}.damaged" + (f"-{number}" if number else ""))
            if not os.path.exists(aside):
                os.rename(os.path.join(folder, name), aside)
                moved.append(aside)
                break
    return moved
