"""What the adapter remembers of one job, and the socket on which it is told how the daemon is."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, StopCertificate
from duende.adapters.launchd.launchctl import Launchctl
from duende.adapters.launchd.processes import Kin
from duende.adapters.launchd.watch import ExitWatch
from duende.adapters.native.notify import AT_ONCE, LARGEST, reports_in
from duende.states import ProcessExit


class Record:
    """One job that this adapter started or adopted."""

    def __init__(self, handle: DaemonHandle, launchctl: Launchctl) -> None:
        self.handle = handle
        self.launchctl = launchctl
        self.exit: ProcessExit | None = None
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.watch: ExitWatch | None = None
        self.notify: NotifySocket | None = None
        self.stopping: asyncio.Task[StopCertificate] | None = None
        self.kin: dict[Kin, None] = {}
        """Descendants seen while the main process lived, in order."""
        self.log_from = 0
        """Where this start's output begins in its log."""
        self.unloaded = False
        """launchd has no such job any more, and its property list is removed."""
        self.changed = asyncio.Event()

    @property
    def target(self) -> str:
        """The job as launchctl takes it."""
        return target_of(self.handle)

    @property
    def delegated(self) -> bool:
        """Whether launchd restarts it."""
        return "delegated" in self.handle.data

    def release(self) -> None:
        """Watch and listen no more."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        if self.notify is not None:
            self.notify.close()
            self.notify = None

    def end(self, seen: ProcessExit) -> None:
        """Note the exit and tell those who wait."""
        self.exit = seen
        self.release()
        for future in self.waiters:
            if not future.done():
                future.set_result(seen)
        self.waiters.clear()
        self.changed.set()


def target_of(handle: DaemonHandle) -> str:
    """DOMAIN/LABEL."""
    return f"{handle.data.get('domain', '')}/{handle.instance}"


class NotifySocket:
    """The receiving end of sd_notify(3) for one daemon: who sends is told by the socket, whose name only that daemon was given."""

    def __init__(self, path: str, daemon_id: str, emit: Callable[[AdapterEvent], None]) -> None:
        self.path = path
        self._daemon_id = daemon_id
        self._emit = emit
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # the first start
        self._sock.bind(path)
        # A daemon of another user writes here too.
        os.chmod(path, 0o666)  # noqa: S103
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._receive)

    def close(self) -> None:
        """Stop receiving and remove the socket."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass  # its folder was removed first

    def _receive(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data = self._sock.recv(LARGEST)
            except OSError:
                return  # nothing more, or closed
            for kind, value in reports_in(data):
                self._tell(kind, value)

    def _tell(self, kind: EventKind, value: str) -> None:
        self._emit(AdapterEvent(daemon_id=self._daemon_id, kind=kind, detail=value))
