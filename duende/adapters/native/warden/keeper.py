"""The keeper of logs: reads every daemon's output and writes it into rotating files, so that no daemon ever waits for a disk.

A daemon writes into a pipe that it also holds open for reading, so a dead keeper never means SIGPIPE; a new keeper goes on with the same
pipe. Reading and writing are two threads with a bounded store between them: when a disk hangs or is full the reader drops, counts what it
dropped, says so once a second at most, and leaves a line in the log as soon as it can be written again.
"""

from __future__ import annotations

import collections
import os
import select
import threading
import time

from duende.adapters.native.warden import wire
from duende.adapters.native.warden.logfile import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_SIZE = 1 << 16
STORE_BYTES = 16 << 20
"""What may wait for the disk in all; beyond that output is dropped and counted."""
REPORT_EVERY = 1.0


class Source:
    """One daemon's output."""

    __slots__ = ("daemon_id", "fd", "file", "partial", "pattern")

    def __init__(self, daemon_id: str, fd: int, file: LogFile) -> None:
        self.daemon_id = daemon_id
        self.fd = fd
        self.file = file
        self.pattern: Any = None
        self.partial = b""


class Keeper:
    """Reads all sources; a second thread writes."""

    def __init__(self, control: int) -> None:
        self._control = control
        self._inbox = wire.Inbox()
        self._epoll = select.epoll()
        self._epoll.register(control, select.EPOLLIN)
        self._sources: dict[int, Source] = {}
        self._by_id: dict[str, Source] = {}
        self._work: collections.deque[tuple[str, Source, bytes]] = collections.deque()
        self._stored = 0
        self._ready = threading.Condition()
        self._writer = threading.Thread(target=self._write_for_ever, daemon=True)
        self._telling = threading.Lock()

    def run(self) -> None:
        """Serve until the warden closes its end."""
        self._writer.start()
        while True:
            for fd, _ in self._epoll.poll():
                if fd != self._control:
                    self._read(self._sources[fd])
                elif not self._listen():
                    for source in list(self._sources.values()):
                        self._drain(source)
                    self._wait_for_writer()
                    return

    def _listen(self) -> bool:
        data = os.read(self._control, READ_SIZE)
        for message in self._inbox.feed(data):
            verb, daemon_id = message[0], message[1]
            if verb == "open":
                self._open(*message[1:])
                self._tell(("opened", daemon_id))
            source = self._by_id.get(daemon_id)
            if source is None:
                if verb == "drain":
                    self._tell(("drained", daemon_id))
            elif verb == "drain":
                self._drain(source)
                self._put("drained", source, b"")
            elif verb in ("watch", "expect"):
                import re

                if verb == "expect":  # of what is started next: what is still in the pipe is the last one's
                    source.pattern = None
                    self._drain(source)
                source.pattern = re.compile(message[2].encode()) if message[2] else None
                source.partial = b""
            elif verb == "close":
                self._close(source)
        return bool(data)

    def _open(self, daemon_id: str, pipe: str, path: str, max_bytes: int, backups: int) -> None:
        old = self._by_id.get(daemon_id)
        if old is not None:
            if (old.file.path, old.file.max_bytes, old.file.backups) == (path, max_bytes, backups):
                return
            self._close(old)
        # Also for writing: the pipe then never reports end of file, and an idle source costs nothing.
        fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        source = Source(daemon_id, fd, LogFile(path, max_bytes, backups))
        self._sources[fd] = self._by_id[daemon_id] = source
        self._epoll.register(fd, select.EPOLLIN)

    def _close(self, source: Source) -> None:
        self._drain(source)
        self._epoll.unregister(source.fd)
        del self._sources[source.fd]
        del self._by_id[source.daemon_id]
        os.close(source.fd)

    def _drain(self, source: Source) -> None:
        # Bounded: a descendant that writes without end must not keep the others waiting.
        for _ in range(256):
            if not self._read(source):
                return

    def _read(self, source: Source) -> bool:
        try:
            data = os.read(source.fd, READ_SIZE)
        except BlockingIOError:
            return False
        if source.pattern is not None:
            self._search(source, data)
        if self._stored + len(data) > STORE_BYTES:
            source.file.drop(len(data), "the disk does not keep up")
            self._put("report", source, b"")
        else:
            self._put("write", source, data)
        return True

    def _search(self, source: Source, data: bytes) -> None:
        lines = (source.partial + data).split(b"\n")
        source.partial = lines.pop()[-READ_SIZE:]
        for line in lines:
            if source.pattern.search(line):
                source.pattern = None
                self._tell(("line", source.daemon_id, line.decode(errors="replace")))
                return

    # -- the writing thread --------------------------------------------------------------------------------------------------

    def _put(self, what: str, source: Source, data: bytes) -> None:
        with self._ready:
            self._work.append((what, source, data))
            self._stored += len(data)
            self._ready.notify()

    def _write_for_ever(self) -> None:
        reported: dict[str, float] = {}
        while True:
            with self._ready:
                while not self._work:
                    self._ready.wait()
                what, source, data = self._work.popleft()
                self._stored -= len(data)
            if what == "write":
                source.file.write(data)
            if (
                source.file.lost_unreported
                and time.monotonic() - reported.get(source.daemon_id, -REPORT_EVERY) >= REPORT_EVERY
            ):
                reported[source.daemon_id] = time.monotonic()
                self._tell(("lost", source.daemon_id, source.file.take_lost(), source.file.why))
            if what == "drained":
                self._tell(("drained", source.daemon_id))
            if what == "end":
                return

    def _wait_for_writer(self) -> None:
        source = next(iter(self._sources.values()), None)
        if source is not None:
            self._put("end", source, b"")
            self._writer.join(timeout=5.0)

    def _tell(self, message: tuple[Any, ...]) -> None:
        with self._telling:
            frame = memoryview(wire.pack(message))
            try:
                while frame:
                    frame = frame[os.write(self._control, frame) :]
            except OSError:
                pass  # the warden is gone; the next read of the control socket ends this process


def keep_logs(control: int) -> None:
    """Body of the keeper process."""
    from duende.kernel import prctl

    prctl.set_name("duende-logs")
    os.setpriority(
        os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0))
    )  # logs are not worth the warden's privilege
    Keeper(control).run()
