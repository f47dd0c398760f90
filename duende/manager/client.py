"""A client of the manager's control socket, without an event loop: for the command and for scripts."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any, Self

import msgspec

from duende.errors import (
    DuendeError,
    NotFoundError,
    PlatformIOError,
    PlatformTimeoutError,
    SerializationError,
)
from duende.manager.protocol import SOCKET_NAME

TIMEOUT = 60.0
TRACED = frozenset({"start", "stop", "restart", "signal"})
"""Operations that are told which span they are asked for in."""
TRACE = ("TRACEPARENT", "TRACESTATE")


class RemoteError(DuendeError):
    """The manager refused; `kind` is the class of its error."""

    def __init__(self, kind: str, problem: str, *, remedy: str = "") -> None:
        """Keep the *kind* of the manager's error."""
        super().__init__(problem, remedy=remedy)
        self.kind = kind
        """Name of the error class in the manager."""


class ManagerClient:
    """Talks to the manager in *runtime_dir*. A context manager; one request at a time."""

    def __init__(self, runtime_dir: str, *, timeout: float = TIMEOUT) -> None:
        """Connect.

        Raises:
            NotFoundError: no manager runs there.
            PlatformIOError: it cannot be reached.
        """
        self.path = os.path.join(runtime_dir, SOCKET_NAME)
        self._timeout = timeout
        self._buffer = b""
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(timeout)
        try:
            self._sock.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            self._sock.close()
            raise NotFoundError(
                f"no manager runs at {runtime_dir}", remedy="start one: duende manager FLEET.toml"
            ) from None
        except OSError as error:
            self._sock.close()
            raise PlatformIOError(
                f"cannot reach the manager at {self.path}: {error.strerror or error}", remedy="is it yours?"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def ask(self, op: str, **fields: Any) -> Any:
        """The result of one operation.

        Raises:
            RemoteError: the manager refused.
            PlatformTimeoutError: it did not answer in time.
            PlatformIOError: it went away.
        """
        if op in TRACED:
            fields = {**{name.lower(): os.environ[name] for name in TRACE if name in os.environ}, **fields}
        try:
            self._sock.sendall(msgspec.json.encode({"op": op, **fields}) + b"\n")
        except OSError as error:
            raise PlatformIOError(f"the manager went away: {error}") from error
        while True:
            message = self._line()
            if "event" in message:
                continue
            if message.get("ok"):
                return message.get("result")
            why = message.get("error") or {}
            raise RemoteError(
                why.get("kind", "DuendeError"), why.get("message", "refused"), remedy=why.get("remedy", "")
            )

    def events(self, lines: int = 10) -> Iterator[dict[str, Any]]:
        """The last *lines* events, then every new one, for ever."""
        yield from self.ask("events", lines=lines)
        self._sock.settimeout(None)
        while True:
            message = self._line()
            if "event" in message:
                yield message["event"]

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                data = self._sock.recv(1 << 16)
            except TimeoutError:
                raise PlatformTimeoutError("hear from the manager", self._timeout) from None
            except OSError as error:
                raise PlatformIOError(f"the manager went away: {error}") from error
            if not data:
                raise PlatformIOError("the manager went away", remedy="see its log")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = msgspec.json.decode(line)
        except msgspec.MsgspecError as error:
            raise SerializationError(f"cannot read the manager's answer: {error}") from error
        return message if isinstance(message, dict) else {}
