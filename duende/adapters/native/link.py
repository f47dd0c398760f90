"""The adapter's end of the warden's socket, in an asyncio loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from duende.adapters.native.warden import start, wire
from duende.errors import PlatformIOError
from duende.kernel import sockets

READ_SIZE = 1 << 18
CONNECT_TIMEOUT = 5.0


class Link:
    """A connection to a warden: sends without blocking, hands every message to a callback."""

    def __init__(self, sock: socket.socket, pid: int = 0) -> None:
        self._sock = sock
        self._inbox = wire.Inbox()
        self._outbox = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_message: Callable[[tuple[Any, ...]], None] = lambda _: None
        self._on_lost: Callable[[], None] = lambda: None
        self.pid = pid
        """Process of the warden if this process started it, else 0."""

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[tuple[Any, ...]], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Deliver messages from now on."""
        self._sock.setblocking(False)
        self._loop, self._on_message, self._on_lost = loop, on_message, on_lost
        loop.add_reader(self._sock.fileno(), self._read)

    def send(self, *message: Any) -> None:
        """Queue a message; it leaves at once unless the warden is behind."""
        self._outbox += wire.pack(message)
        self._write()

    def close(self) -> None:
        """Close the connection; the warden notices."""
        if self._sock.fileno() < 0:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._sock.fileno() < 0

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_lost()
            return
        for message in self._inbox.feed(data):
            self._on_message(message)

    def _write(self) -> None:
        try:
            while self._outbox:
                sent = self._sock.send(self._outbox)
                del self._outbox[:sent]
        except BlockingIOError:
            if self._loop is not None:
                self._loop.add_writer(self._sock.fileno(), self._write)
            return
        except OSError:
            return  # the reader sees the end of the connection and reports it
        if self._loop is not None and self._sock.fileno() >= 0:
            self._loop.remove_writer(self._sock.fileno())


def open_link(runtime_dir: str, *, keep: bool) -> Link:
    """Connect to the warden that lives in *runtime_dir*, or start one.

    Raises:
        PlatformIOError: neither works.
    """
    path = f"{runtime_dir}/warden.sock"
    try:
        if keep:
            found = _connect(path)
            if found is not None:
                return Link(found)
        ours, theirs = sockets.pair()
        listener = None
        try:
            listener = sockets.listen(path) if keep else None
            pid = start.spawn_warden(theirs, listener, keep=keep)
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
            if listener is not None:
                os.close(listener)
    except OSError as error:
        raise PlatformIOError(
            f"cannot start the warden in {runtime_dir}: {error}",
            remedy="check the folder's rights and free processes",
        ) from error
    return Link(socket.socket(fileno=ours), pid)


def _connect(path: str) -> socket.socket | None:
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(CONNECT_TIMEOUT)
    try:
        found.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        found.close()
        return None
    return found
