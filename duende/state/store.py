"""A daemon's state: keys and values that outlive it, whatever byte of a write it was killed at.

A commit is appended to a log and, unless told otherwise, synchronised before anybody is told that it is done (fdatasync(2)); from time to time
the whole state is written as a snapshot, beside the old one, and a new log is begun. The snapshot before and its log stay until the next, so that
one damaged file loses nothing. Everything is checked by CRC-32 when it is read.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from duende.errors import AlreadyRunningError, DaemonIOError, StateError
from duende.state.changes import operations_of, write_all
from duende.state.codec import Packed, unpack
from duende.state.frames import (
    HEADER,
    LOG,
    SNAPSHOT,
    Operation,
    chunks,
    frame,
    header,
)
from duende.state.recovery import NAME, Loaded, Recovery, load, move_aside, name_of

SNAPSHOT_AFTER = 4 << 20
"""Bytes of a log after which a snapshot is made, or twice the last snapshot where that is more."""
CHUNK = 1 << 20
FULL = "make room on the disk; the state is as it was before"


class StateStore:
    """Keys with values (bytes) in a folder of their own, used by one process at a time.

    `put`, `delete` and `write` return, and `commit` resolves, when the change is in the log on disk; then it survives SIGKILL and, with *sync*,
    a loss of power. A change is there as a whole or not at all.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, sync: bool = True, snapshot_after: int = SNAPSHOT_AFTER
    ) -> None:
        """Open the store in *folder*, which is made where it is missing (mode 0700); recover what is in it.

        Args:
            folder: where its files are.
            sync: whether commits are synchronised with the disk. Without, they survive the process, and not the machine.
            snapshot_after: bytes of log after which a snapshot is made.

        Raises:
            AlreadyRunningError: another process, or another store of this one, has it open.
            DaemonIOError: the folder or a file in it cannot be used.
            SerializationError: a newer duende wrote it.
        """
        self.folder = os.fspath(folder)
        self._sync = sync
        self._snapshot_after = snapshot_after
        self._lock = threading.Lock()
        self._pending: list[tuple[list[Operation], asyncio.Future[int]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._poisoned = ""
        self._log = -1
        self._held = self._claim()
        try:
            loaded = load(self.folder)
            self._entries = loaded.entries
            self._version = loaded.version
            self._snapshot_size = 0
            self.recovered = self._settled(loaded)
            """What opening found: the version, and what was lost where something was."""
        except BaseException:
            os.close(self._held)
            self._held = -1
            raise

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """How many commits the state has seen."""
        return self._version

    def get(self, key: str, default: bytes | None = None) -> bytes | None:
        """The value of *key*, checked, or *default*.

        Raises:
            SerializationError: the value is damaged.
        """
        packed = self._entries.get(key)
        return default if packed is None else unpack(packed)

    def __getitem__(self, key: str) -> bytes:
        return unpack(self._entries[key])

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def sizes(self) -> tuple[int, int]:
        """(bytes of all values, bytes of what is kept of them)."""
        kept = list(self._entries.values())
        return sum(each.size for each in kept), sum(len(each.payload) for each in kept)

    # -- writing ---------------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> int:
        """Set *key*; the version that has it. See `write`."""
        return self.write({key: value})

    def delete(self, key: str) -> int:
        """Remove *key*, which need not be there; the version without it. See `write`."""
        return self.write(delete=(key,))

    def write(self, put: Mapping[str, bytes] | None = None, delete: Iterable[str] = ()) -> int:
        """Change several keys in one commit: all of them or none; the version that has them.

        Raises:
            ConfigError: a key or a value is of a kind or size that the store does not take; nothing was changed.
            DaemonIOError: the disk refused; the state is as it was.
            StateError: the store is closed, or was given up after the disk failed to synchronise.
        """
        return self._commit_all([operations_of(put, delete)])

    def commit(
        self, put: Mapping[str, bytes] | None = None, delete: Iterable[str] = ()
    ) -> asyncio.Future[int]:
        """As `write`, without holding up the loop; to be awaited, in the running loop. What is asked for while the disk is busy goes to it together,
        with one synchronisation.

        Raises:
            ConfigError: as `write`, at once; every other error comes with the future.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._pending.append((operations_of(put, delete), done))
        if self._flusher is None or self._flusher.done():
            self._flusher = loop.create_task(self._flush())
        return done

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                last = await asyncio.to_thread(self._commit_all, [operations for operations, _ in batch])
            except Exception as error:  # noqa: BLE001 - whoever waits for the commit gets it
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            for place, (_, done) in enumerate(batch, last - len(batch) + 1):
                if not done.done():
                    done.set_result(place)

    def _commit_all(self, batch: list[list[Operation]]) -> int:
        with self._lock:
            return self._commit(batch)

    def snapshot(self) -> None:
        """Write the whole state as a snapshot now, and begin a new log.

        Raises:
            DaemonIOError: the disk refused; the old snapshot and log are still in force.
        """
        with self._lock:
            self._usable()
            self._begin(self._generation + 1)

    def close(self) -> None:
        """Let go of the store; what was committed is on disk. Commits still waiting fail."""
        with self._lock:
            for fd in (self._log, self._held):
                if fd >= 0:
                    os.close(fd)
            self._log = self._held = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the disk --------------------------------------------------------------------------------------------

    def _claim(self) -> int:
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise DaemonIOError.of(
                "open the state in", self.folder, error, "give a folder this user may write"
            ) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            raise AlreadyRunningError(
                f"the state in {self.folder} is open already", remedy="one process may have it open at a time"
            ) from None
        return held

    def _settled(self, loaded: Loaded) -> Recovery:
        for name in os.listdir(self.folder):
            if name.endswith(".unfinished"):  # a snapshot that was being written
                os.unlink(os.path.join(self.folder, name))
        self._generation = loaded.newest
        moved: list[str] = []
        if loaded.log is not None and not loaded.damaged:
            self._generation, self._end = loaded.log
            self._log = self._opened(self._path(self._generation, "log"), os.O_RDWR)
            os.ftruncate(self._log, self._end)
        else:
            # The new snapshot is on disk before what is damaged gets another name: a crash in between finds both.
            self._begin(loaded.newest + 1, sweep=False)
            moved = move_aside(self.folder, loaded.damaged)
        return Recovery(
            version=loaded.version,
            torn_bytes=loaded.torn_bytes,
            set_aside=tuple(moved),
            problems=tuple(loaded.problems),
        )

    def _usable(self) -> None:
        if self._held < 0:
            raise StateError(f"the store in {self.folder} is closed", remedy="open it again")
        if self._poisoned:
            raise StateError(
                f"the store in {self.folder} was given up: {self._poisoned}",
                remedy="see to the disk, and open the store again: it then has what the disk really kept",
            )

    def _commit(self, batch: list[list[Operation]]) -> int:
        self._usable()
        data = b"".join(
            frame(self._generation, version, operations)
            for version, operations in enumerate(batch, self._version + 1)
        )
        path = self._path(self._generation, "log")
        try:
            write_all(self._log, data, self._end)
        except OSError as error:
            self._cut(path)
            raise DaemonIOError.of("write the state to", path, error, FULL) from error
        self._synchronise(self._log, path)
        self._end += len(data)
        for operations in batch:
            for key, packed in operations:
                if packed is None:
                    self._entries.pop(key, None)
                else:
                    self._entries[key] = packed
        self._version += len(batch)
        if self._end > max(self._snapshot_after, 2 * self._snapshot_size):
            try:
                self._begin(self._generation + 1)
            except DaemonIOError:
                # No room for a snapshot: what was committed is safe, and the log goes on until it is twice as long.
                self._snapshot_size = self._end
        return self._version

    def _cut(self, path: str) -> None:
        """Take back a write that was refused half-way: behind its rest the next frame would never be found."""
        try:
            os.ftruncate(self._log, self._end)
        except OSError as error:
            self._poisoned = f"cannot take back a write to {path}: {error.strerror}"

    def _synchronise(self, fd: int, path: str) -> None:
        if not self._sync:
            return
        try:
            os.fdatasync(fd)
        except OSError as error:
            # Nobody can say what is on the disk now, and a second attempt may succeed without having written (fsync(2), Linux since 4.13).
            self._poisoned = f"cannot synchronise {path}: {error.strerror}"
            raise DaemonIOError.of(
                "synchronise the state in", path, error, "see to the disk, and open the store again"
            ) from error

    def _begin(self, generation: int, *, sweep: bool = True) -> None:
        """Write a snapshot of *generation* and begin its log; without *sweep* the older files stay."""
        final, path = self._path(generation, "snapshot"), self._path(generation, "snapshot.unfinished")
        log = self._path(generation, "log")
        new = fd = -1
        try:
            fd = self._opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            size = self._write_snapshot(fd, generation)
            os.fsync(fd)
            new = self._opened(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            write_all(new, header(LOG, generation), 0)
            os.fsync(new)
            os.rename(path, final)
            os.fsync(self._held)
        except OSError as error:
            for each in (path, log, final):
                try:
                    os.unlink(each)
                except FileNotFoundError:
                    pass  # it was not made yet
            if new >= 0:
                os.close(new)
            raise DaemonIOError.of("write a snapshot of the state to", final, error, FULL) from error
        finally:
            if fd >= 0:
                os.close(fd)
        if self._log >= 0:
            os.close(self._log)
        self._log, self._generation = new, generation
        self._end, self._snapshot_size = HEADER.size, size
        if sweep:
            self._sweep()

    def _write_snapshot(self, fd: int, generation: int) -> int:
        at = write_all(fd, header(SNAPSHOT, generation), 0)
        count = len(self._entries)
        for part in chunks(self._entries.items(), CHUNK):
            at += write_all(fd, frame(generation, self._version, part), at)
        return at + write_all(fd, frame(generation, self._version, (), count=count), at)

    def _sweep(self) -> None:
        """Remove what is older than the snapshot before this one, which is kept for the day this one is damaged."""
        found = [match for name in os.listdir(self.folder) if (match := NAME.fullmatch(name)) is not None]
        keep = max(
            (int(each[1]) for each in found if each[2] == "snapshot" and int(each[1]) < self._generation),
            default=0,
        )
        for each in found:
            if int(each[1]) < keep:
                os.unlink(os.path.join(self.folder, each[0]))

    def _path(self, generation: int, kind: str) -> str:
        return os.path.join(self.folder, name_of(generation, kind))

    def _opened(self, path: str, flags: int) -> int:
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DaemonIOError.of("open", path, error, FULL) from error


__all__ = ["Packed", "Recovery", "StateStore"]
