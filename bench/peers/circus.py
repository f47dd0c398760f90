"""circusd with one watcher of n processes, asked over ZeroMQ as circusctl does."""

from __future__ import annotations

import importlib.util
import json
import sys
import uuid
from importlib import metadata
from typing import Any, ClassVar

from bench.peers.base import Peer, PeerError

CONFIG = """\
[circus]
endpoint = ipc://{folder}/control
pubsub_endpoint = ipc://{folder}/events
loglevel = CRITICAL
warmup_delay = 0
check_delay = 0.1
[watcher:tiny]
cmd = {tiny} {counter}
numprocesses = {n}
warmup_delay = 0
max_retry = -1
"""
TIMEOUT_MS = 10_000


class CircusControl:
    """One DEALER socket."""

    def __init__(self, path: str) -> None:
        import zmq

        self._context: Any = zmq.Context()
        self._socket: Any = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self._socket.connect(f"ipc://{path}")

    def call(self, command: str, **properties: object) -> Any:
        """One request and its answer.

        Raises:
            PeerError: it answered an error.
        """
        request = {"id": uuid.uuid4().hex, "command": command, "properties": properties}
        self._socket.send(json.dumps(request).encode())
        answer = json.loads(self._socket.recv())
        if answer.get("status") == "error":
            raise PeerError(f"{command}: {answer}")
        return answer

    def one(self, index: int) -> None:
        """Status of the watcher: its processes have no status of their own, so *index* says nothing."""
        answer = self.call("status", name="tiny")
        if answer["status"] != "active":
            raise PeerError(f"daemon {index} not running: {answer}")

    def all(self) -> int:
        """The pids of the watcher's processes: the nearest to a status of all that it has."""
        return len(self.call("list", name="tiny")["pids"])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._context.term()


class Circus(Peer):
    """Column `circus`."""

    name: ClassVar[str] = "circus"
    delay: ClassVar[str] = "check_delay = 0.1, warmup_delay = 0"

    @classmethod
    def missing(cls) -> str:
        """It comes from PyPI."""
        return "" if importlib.util.find_spec("circus") else "no module circus (pip install circus)"

    @classmethod
    def version(cls) -> str:
        """Of the distribution."""
        return metadata.version("circus")

    def prepare(self) -> None:
        """Write circus.ini."""
        text = CONFIG.format(folder=self.folder, tiny=self.tiny, counter=self.counter, n=self.n)
        (self.folder / "circus.ini").write_text(text)

    def command(self) -> list[str]:
        """In the foreground."""
        return [sys.executable, "-m", "circus.circusd", str(self.folder / "circus.ini")]

    def connect(self) -> CircusControl:
        """Its ZeroMQ endpoint."""
        return CircusControl(str(self.folder / "control"))
