"""The reaper seen from the scenario: leasing an undoing, asking for it, letting it go."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from scenarios import reaper
from scenarios.reaper import MARK, start_time

ANSWER_WITHIN = 30.0
"""Seconds for an undoing. Killing what is marked looks at most 50 times at the process table."""
FAREWELL = 10.0


class ReaperError(Exception):
    """The reaper did not answer: nothing may be injected without it."""


class Lease:
    """One undoing. `undo` it, or it happens when the reaper's other end goes away."""

    def __init__(self, reaper_process: Reaper, number: int, what: dict[str, object]) -> None:
        self._reaper = reaper_process
        self.number = number
        self.what = what

    def undo(self) -> str:
        """Undo now; what was done, in words. Undoing twice is harmless."""
        return self._reaper.ask("undo", self.number)

    def release(self) -> None:
        """There is nothing to undo any more."""
        self._reaper.ask("release", self.number)


class Reaper:
    """The reaper process. A context manager; leaving it undoes what is still leased."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        """The mark of this run: everything started with `environment` can be found again."""
        self._number = 0
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", str(Path(reaper.__file__)), str(theirs.fileno())]
            # A session of its own: Ctrl-C in a terminal must reach us and not the reaper.
            self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), start_new_session=True)
        ours.settimeout(ANSWER_WITHIN)
        self._socket = ours
        self._stream = ours.makefile("rwb")
        self.lease("marked", token=self.token)

    @property
    def environment(self) -> dict[str, str]:
        """To be added to the environment of whatever is started."""
        return {MARK: self.token}

    def ask(self, do: str, number: int, **fields: object) -> str:
        """One request.

        Raises:
            ReaperError: no answer.
        """
        try:
            self._stream.write(json.dumps({"do": do, "id": number, **fields}).encode() + b"\n")
            self._stream.flush()
            line = self._stream.readline()
        except OSError as error:
            raise ReaperError(f"the reaper does not answer: {error}") from error
        if not line:
            raise ReaperError("the reaper has gone")
        return str(json.loads(line))

    def lease(self, kind: str, **what: object) -> Lease:
        """Have something undone in case we are killed.

        Raises:
            ReaperError: no answer.
        """
        self._number += 1
        self.ask("lease", self._number, what={"kind": kind, **what})
        return Lease(self, self._number, {"kind": kind, **what})

    def lease_process(self, kind: str, pid: int) -> Lease:
        """Lease `kill` or `cont` of the process that has *pid* now."""
        return self.lease(kind, pid=pid, born=start_time(pid))

    def survivors(self) -> list[int]:
        """Every process that was started with our mark and lives."""
        return [pid for pid, _ in reaper.marked(self.token)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say farewell and wait until everything leased is undone."""
        self._stream.close()
        self._socket.close()
        self.process.wait(ANSWER_WITHIN + FAREWELL)
