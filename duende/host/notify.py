"""The sending end of sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time

MATTERS = ("READY=", "RELOADING=", "STOPPING=")
"""What the supervisor waits for. A socket queues ten datagrams (net.unix.max_dgram_qlen), so of many daemons that get
ready at once most would be dropped if nobody waited for room."""
PATIENCE = 5.0
"""Seconds to wait for room in the queue; a supervisor that lives makes it within milliseconds."""


class Notifier:
    """Sends assignments to $NOTIFY_SOCKET; without one it does nothing. Takes the variable out of the
    environment, so children are strangers.
    """

    def __init__(self, path: str | None) -> None:
        self._address = "\0" + path[1:] if path and path.startswith("@") else path
        self._sock: socket.socket | None = None

    @classmethod
    def from_environment(cls) -> Notifier:
        """The notifier that the supervisor asked for."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None))

    def send(self, assignment: str) -> None:
        """Send one assignment; a supervisor that is gone is no reason to fail."""
        if not self._address:
            return
        try:
            if self._sock is None:
                self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._sock.settimeout(PATIENCE if assignment.startswith(MATTERS) else 0)
            self._sock.sendto(assignment.encode(), self._address)
        except OSError:
            pass  # nobody listens (any more), or its queue stays full: a daemon does not wait for its supervisor

    def reloading(self) -> None:
        """RELOADING=1 with the time it began, as sd_notify(3) asks for."""
        self.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def close(self) -> None:
        """Let go of the socket."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def watchdog_interval() -> float | None:
    """Seconds between WATCHDOG=1 messages, half of what $WATCHDOG_USEC asks for; None when nobody asked this
    process.
    """
    wanted, pid = os.environ.pop("WATCHDOG_USEC", None), os.environ.pop("WATCHDOG_PID", None)
    if not wanted or not wanted.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 2e6
