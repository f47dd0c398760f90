"""The raw APIs: one blocking socket, and not a byte more done than the protocol asks for. The floor under every client."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from bench.platforms.base import CallError

DEADLINE = 30.0
"""Seconds for an answer."""
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
"""Message types (D-Bus specification 0.42, "Message Format")."""
HEAD = struct.Struct("<BBBBIII")
"""Byte order, type, flags, version, bytes of the body, serial, bytes of the fields."""


def connected(path: str) -> socket.socket:
    """A socket connected to *path*."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(DEADLINE)
    try:
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made


class RawHttp:
    """HTTP/1.1 over one connection that is kept (RFC 9112)."""

    def __init__(self, path: str) -> None:
        self._socket = connected(path)

    @staticmethod
    def text(method: str, target: str, body: bytes | None = None) -> bytes:
        """The bytes of a request."""
        kind = "Content-Type: application/json\r\n" if body else ""
        length = f"Content-Length: {len(body or b'')}\r\n" if method != "GET" else ""
        return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{kind}{length}\r\n".encode() + (body or b"")

    def request(self, text: bytes, *codes: int) -> bytes:
        """Send it, and read the answer to its end; the body as it came.

        Raises:
            CallError: the answer has none of these *codes*.
        """
        self._socket.sendall(text)
        head, rest = b"", b""
        while b"\r\n\r\n" not in head:
            head += self._more()
        head, _, rest = head.partition(b"\r\n\r\n")
        code = int(head.split(None, 2)[1])
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            while not rest.endswith(b"0\r\n\r\n"):
                rest += self._more()
        elif (at := lower.find(b"content-length:")) >= 0:
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
            while len(rest) < length:
                rest += self._more()
        if code not in codes:
            raise CallError(f"{text[:80]!r} was answered by {code}: {rest[:200]!r}")
        return rest

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise CallError("the server hung up")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class RawBus:
    """D-Bus over one connection; one call at a time."""

    def __init__(self, path: str) -> None:
        self._socket = connected(path)
        self._buffer = b""
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n") and (data := self._socket.recv(4096)):
            answer += data
        if not answer.startswith(b"OK "):
            self._socket.close()
            raise CallError(f"the bus does not let us in: {answer!r}")
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        self.call(b"BEGIN\r\n" + self.text(*bus, "Hello"))
        self._bus = bus

    @staticmethod
    def text(
        to: str, path: str, interface: str, member: str, signature: str = "", body: list[Any] | None = None
    ) -> bytes:
        """The bytes of a call, marshalled by dbus-fast before anything is timed."""
        from dbus_fast import Message

        message = Message(
            destination=to,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body or [],
        )
        message.serial = 1  # one call at a time, so nobody has to tell answers apart
        return bytes(message._marshall(False))

    def match(self, rule: str) -> None:
        """Have signals sent here."""
        self.call(self.text(*self._bus, "AddMatch", "s", [rule]))

    def call(self, text: bytes, *, errors: bool = False) -> bytes | None:
        """Send it and read to its answer; the body. An error is None where *errors* may come.

        Raises:
            CallError: the answer is an error.
        """
        self._socket.sendall(text)
        while True:
            kind, body = self._message()
            if kind == RETURN:
                return body
            if kind == ERROR:
                if errors:
                    return None
                raise CallError(f"the bus answered with an error: {body!r}")

    def signal(self, *parts: bytes) -> bytes:
        """The body of the next signal that has all *parts* in it."""
        while True:
            kind, body = self._message()
            if kind == SIGNAL and all(part in body for part in parts):
                return body

    def drain(self) -> None:
        """Drop what has come and was not asked for."""
        self._socket.setblocking(False)
        try:
            while data := self._socket.recv(65536):
                self._buffer += data
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(DEADLINE)
        while self._whole():
            self._message()

    def _whole(self) -> int:
        """Bytes of the first message, 0 while it is not all here."""
        if len(self._buffer) < HEAD.size:
            return 0
        order, _, _, _, body, _, fields = HEAD.unpack_from(self._buffer)
        if order != ord("l"):
            raise CallError("the bus speaks big-endian")
        size = int(HEAD.size + (fields + 7) // 8 * 8 + body)
        return size if len(self._buffer) >= size else 0

    def _message(self) -> tuple[int, bytes]:
        while not (size := self._whole()):
            data = self._socket.recv(65536)
            if not data:
                raise CallError("the bus hung up")
            self._buffer += data
        one, self._buffer = self._buffer[:size], self._buffer[size:]
        length = HEAD.unpack_from(one)[4]
        return one[1], one[size - length :]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
