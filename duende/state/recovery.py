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
    read, _ = _scanned(folder, name, SNAPSHOT, generation)
    operations = [each for frame in read.frames for each in frame.operations]
    finished = bool(read.frames) and read.frames[-1].keys == len(operations)
    if read.problem or not finished:
        why = read.problem or "it was not finished"
        _set_aside(loaded, name, f"{name}: {why}; the snapshot before it and its log are used")
        return False
    loaded.entries = {key: packed for key, packed in operations if packed is not None}
    loaded.version = read.frames[-1].version
    return True


def _follow_logs(loaded: Loaded, folder: str, generations: list[int]) -> None:
    for place, generation in enumerate(generations):
        name = name_of(generation, "log")
        read, size = _scanned(folder, name, LOG, generation)
        gap = _replay(loaded, read)
        if not gap and not read.problem:
            loaded.log = (generation, read.good)
            continue
        if read.torn and not gap and place == len(generations) - 1:
            loaded.torn_bytes = size - read.good
            # Cut within its head, it has nothing in it yet to go on with.
            loaded.log = (generation, read.good) if read.good else None
            return
        lost = size - read.good if read.problem else size
        _set_aside(
            loaded,
            name,
            f"{name}: {gap or read.problem}; the state is that of version {loaded.version}, {lost} bytes behind it are lost",
        )
        for later in generations[place + 1 :]:
            _set_aside(loaded, name_of(later, "log"), f"{name_of(later, 'log')} goes on from what is lost")
        loaded.log = None
        return


def _replay(loaded: Loaded, read: Scan) -> str:
    """Apply the frames of a log; why that ended before the last of them, empty where it did not."""
    for frame in read.frames:
        if frame.version <= loaded.version:
            continue
        if frame.version != loaded.version + 1:
            return f"version {loaded.version + 1} is missing"
        for key, packed in frame.operations:
            if packed is None:
                loaded.entries.pop(key, None)
            else:
                loaded.entries[key] = packed
        loaded.version = frame.version
    return ""


def _scanned(folder: str, name: str, magic: bytes, generation: int) -> tuple[Scan, int]:
    """(a file as far as it can be read, its bytes); one whose head is wrong has nothing in it."""
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
        read = scan(data, magic)
    except SerializationError as error:
        return Scan(generation, [], 0, error.problem, torn=len(data) < HEADER.size), len(data)
    if read.generation != generation:
        return Scan(generation, [], 0, "it has another's generation", torn=False), len(data)
    return read, len(data)


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
