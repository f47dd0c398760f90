"""What the bench asks of a supervisor, and how each is started: as our child, in a folder of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Protocol

from bench.procs import Gone, Held

PATIENCE = 30.0
"""Seconds a supervisor gets to end after it was asked, before it is killed."""


class PeerError(Exception):
    """A supervisor did not do what the bench needs of it; the figure is missing, not zero."""


class Control(Protocol):
    """An open connection to a supervisor's control interface."""

    def one(self, index: int) -> None:
        """Ask for the status of daemon *index* and check the answer.

        Raises:
            PeerError: it is not there or not running.
        """
        ...

    def all(self) -> int:
        """Ask for the status of all in one call; the number of daemons in the answer."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Peer(ABC):
    """One life of one supervisor over *n* tiny daemons. Everything it writes is below *folder*."""

    name: ClassVar[str]
    mark: ClassVar[dict[str, str]] = {}
    """By this in their environment a reaper finds the peer and its daemons when the bench itself is killed."""
    delay: ClassVar[str]
    """The lowest restart delay it allows, as set here; printed below the table."""

    def __init__(self, folder: Path, tiny: Path, counter: Path, n: int) -> None:
        self.folder = folder
        self.tiny = tiny
        self.counter = counter
        self.n = n
        self.pid = 0

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """Why it cannot run here, or nothing."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """What it says of itself."""

    @abstractmethod
    def prepare(self) -> None:
        """Write its configuration. Not timed."""

    def service_folders(self) -> None:
        """One folder per daemon in `services`, whose `run` is the daemon itself, as runit and s6 want it."""
        for index in range(self.n):
            service = self.folder / "services" / f"tiny-{index}"
            service.mkdir(parents=True)
            (service / "run").symlink_to(self.tiny)

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that keeps it in the foreground; the first word is a path."""

    def connect(self) -> Control | None:
        """Open its control interface; None where it has none that answers questions."""
        return None

    def start(self) -> int:
        """Start it; the time just before, CLOCK_MONOTONIC in ns."""
        command = self.command()
        output = str(self.folder / "output")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # The same environment for all, and nothing of ours in it.
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "COUNTER": str(self.counter),
        }
        env |= self.mark
        began = time.monotonic_ns()
        self.pid = os.posix_spawn(command[0], command, env, file_actions=actions, setpgroup=0)
        return began

    def stop(self) -> None:
        """Ask it to end all daemons and itself. Does not wait."""
        held = Held(self.pid)
        held.send(self.stop_signal)
        held.close()

    stop_signal: ClassVar[int] = signal.SIGTERM

    def ended(self, timeout: float = PATIENCE) -> bool:
        """Wait until the supervisor itself is gone; it is our child, so it is reaped here."""
        if self.pid == 0:
            return True
        try:
            held = Held(self.pid)
        except Gone:
            return True
        gone = held.dead(timeout)
        if gone:
            os.waitid(os.P_PIDFD, held.fd, os.WEXITED)
            self.pid = 0
        held.close()
        return gone

    def output(self) -> str:
        """The last of what it printed, for error messages."""
        try:
            return (self.folder / "output").read_text(errors="replace")[-2000:]
        except FileNotFoundError:
            return ""


def find(program: str) -> str | None:
    """The path of a program: beside this interpreter, in PATH, in the system's folders."""
    import shutil

    # Not resolved: in a virtual environment the interpreter is a link, and so are its neighbours.
    beside = Path(sys.executable).parent
    return shutil.which(
        program, path=os.pathsep.join((str(beside), os.environ["PATH"], "/usr/sbin", "/sbin"))
    )


def package_version(package: str) -> str:
    """The version of a Debian package, or that nobody knows."""
    import subprocess

    query = find("dpkg-query")
    if query is None:
        return "unknown version"
    done = subprocess.run(
        [query, "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown version"
