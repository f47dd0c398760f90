"""The receiving end of sd_notify(3): one datagram socket for all daemons, senders known by the kernel's word (SCM_CREDENTIALS, unix(7))."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator

from duende.adapters.contract import AdapterEvent, EventKind

CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid."""
LARGEST = 8192
AT_ONCE = 200
"""Messages taken in one turn of the loop."""
EARLY_MAX = 4096
"""Messages kept until their sender is known; beyond that somebody floods us."""


class NotifySocket:
    """Turns messages into adapter events; those of strangers are counted and refused."""

    def __init__(
        self, path: str, owner_of: Callable[[int], str | None], emit: Callable[[AdapterEvent], None]
    ) -> None:
        self.path = path
        self.refused = 0
        """Messages from processes that belong to no daemon."""
        self._owner_of = owner_of
        self._emit = emit
        self._early: list[tuple[int, bytes]] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # the first one here
        self._sock.bind(path)
        # Daemons of other users write here; who they are is the kernel's word, not the file's mode.
        os.chmod(path, 0o666)  # noqa: S103
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Receive in *loop* from now on."""
        self._loop = loop
        loop.add_reader(self._sock.fileno(), self._receive)

    def close(self) -> None:
        """Stop receiving and remove the socket."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass  # its folder was removed first

    def retry(self, *, last: bool) -> None:
        """Look again at messages that came before their sender was known: a daemon can be ready before its start is reported.

        With *last* no other start is under way, so senders that are still unknown are strangers.
        """
        early, self._early = self._early, []
        for pid, data in early:
            self._handle(pid, data, again=last)

    def _receive(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data, ancillary, _, _ = self._sock.recvmsg(LARGEST, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return
            pid = 0
            for level, kind, body in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid = CREDENTIALS.unpack(body[: CREDENTIALS.size])[0]
            self._handle(pid, data, again=False)

    def _handle(self, pid: int, data: bytes, *, again: bool) -> None:
        daemon_id = self._owner_of(pid) if pid > 1 else None
        if daemon_id is None:
            if not again and pid > 1 and len(self._early) < EARLY_MAX:
                self._early.append((pid, data))
            else:
                self.refused += 1
            return
        for kind, value in reports_in(data):
            self._emit(AdapterEvent(daemon_id=daemon_id, kind=kind, detail=value, pid=pid))


def reports_in(data: bytes) -> Iterator[tuple[EventKind, str]]:
    """What a message of sd_notify(3) reports, each with its value."""
    for line in data.decode(errors="replace").split("\n"):
        key, _, value = line.partition("=")
        kind = _KINDS.get((key, value)) or _KINDS.get((key, None))
        if kind is not None:
            yield kind, value


_KINDS: dict[tuple[str, str | None], EventKind] = {
    ("READY", "1"): EventKind.READY,
    ("RELOADING", "1"): EventKind.RELOADING,
    ("STOPPING", "1"): EventKind.STOPPING,
    ("WATCHDOG", "1"): EventKind.WATCHDOG,
    ("STATUS", None): EventKind.STATUS,
}
