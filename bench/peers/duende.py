"""duende's manager, as its command starts it, asked through its control socket."""

from __future__ import annotations

import compileall
import importlib.util
import json
import socket
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import bench
from bench.peers.base import Peer, PeerError

ROOT = Path(bench.__file__).resolve().parents[1]
"""The tree under measurement, installed or not."""
CONNECT_WITHIN = 10.0
"""Seconds for the control socket to appear."""

FLEET = """\
[[daemon]]
name = "tiny"
count = {n}
binary_path = "{tiny}"
args = ["{counter}"]
restart = {{policy = "always", initial_delay = 0, max_retries = 1000000}}
logging = {{destination = "null"}}
readiness = {{kind = "none", settle = 0}}
"""


class DuendeControl:
    """Newline-delimited JSON over one connection."""

    def __init__(self, path: Path) -> None:
        deadline = time.monotonic() + CONNECT_WITHIN
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONNECT_WITHIN)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if time.monotonic() > deadline:
                    raise PeerError(f"no control socket at {path}") from error
                time.sleep(0.01)
        self._file = self._socket.makefile("rwb")

    def call(self, op: str, **arguments: object) -> Any:
        """One request and its answer's result.

        Raises:
            PeerError: the answer is an error or none came.
        """
        self._file.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        self._file.flush()
        line = self._file.readline()
        answer = json.loads(line) if line else {}
        if not answer.get("ok"):
            raise PeerError(f"{op}: {answer or 'no answer'}")
        return answer["result"]

    def one(self, index: int) -> None:
        """Status of one instance."""
        view = self.call("status", name=f"tiny-{index}")
        if view["status"] != "Running":
            raise PeerError(f"not running: {view}")

    def all(self) -> int:
        """Status of all."""
        return len(self.call("list"))

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


class Duende(Peer):
    """Column `duende`."""

    name: ClassVar[str] = "duende"
    delay: ClassVar[str] = "initial_delay = 0, readiness.settle = 0"

    @classmethod
    def missing(cls) -> str:
        """It must be installed for this interpreter, as for any user."""
        if importlib.util.find_spec("duende") is None or importlib.util.find_spec("duende.__main__") is None:
            return "not available: `python -m duende` does not start here"
        if importlib.util.find_spec("duende.manager") is None:
            return "not available: no duende.manager"
        return ""

    @classmethod
    def version(cls) -> str:
        """Of the installed distribution."""
        try:
            return metadata.version("duende")
        except metadata.PackageNotFoundError:
            return "source tree"

    def prepare(self) -> None:
        """Write FLEET.toml and the two folders."""
        # As an installation would have it: peers come compiled from their packages, a source tree may not be.
        compileall.compile_dir(ROOT / "duende", quiet=1)
        for part in ("state", "run"):
            (self.folder / part).mkdir()
        text = FLEET.format(n=self.n, tiny=self.tiny, counter=self.counter)
        (self.folder / "FLEET.toml").write_text(text)

    def command(self) -> list[str]:
        """The manager in the foreground."""
        paths = ["--state-dir", str(self.folder / "state"), "--runtime-dir", str(self.folder / "run")]
        return [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from duende.cli import main; sys.exit(main())",
            "manager",
            str(self.folder / "FLEET.toml"),
            *paths,
            "--foreground",
        ]

    def connect(self) -> DuendeControl:
        """Its control socket."""
        return DuendeControl(self.folder / "run" / "control.sock")
