"""Running launchctl: one command, its answer, a deadline. The only place that runs anything."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess

import msgspec

from duende.adapters.launchd.parse import Trouble, trouble_of
from duende.errors import AccessError, NotSupportedError, PlatformError, PlatformTimeoutError

DEFAULT = ("launchctl",)


class Answer(msgspec.Struct, frozen=True):
    """What a command said."""

    code: int
    out: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.code == 0

    @property
    def trouble(self) -> Trouble:
        """What went wrong, where it is not `ok`."""
        return trouble_of(self.code, f"{self.error}\n{self.out}")

    @property
    def text(self) -> str:
        """What it said, on one line."""
        return " ".join((self.error or self.out).split()) or f"exit code {self.code}"


class Launchctl:
    """One launchctl, for calls of at most *timeout* seconds."""

    def __init__(self, command: tuple[str, ...] = DEFAULT, timeout: float = 10.0) -> None:
        self.command = command
        self.timeout = timeout

    @property
    def found(self) -> bool:
        """Whether there is such a program."""
        return shutil.which(self.command[0]) is not None

    async def run(self, *words: str) -> Answer:
        """Run it with *words*.

        Raises:
            NotSupportedError: there is no such program.
            PlatformTimeoutError: it did not answer in time, and was killed.
        """
        return await asyncio.to_thread(self._run, words)

    def _run(self, words: tuple[str, ...]) -> Answer:
        try:
            done = subprocess.run(
                [*self.command, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise PlatformTimeoutError(f"have an answer to launchctl {words[0]}", self.timeout) from error
        except OSError as error:
            raise NotSupportedError(
                "launchd",
                f"be asked: cannot run {self.command[0]}: {error.strerror}",
                remedy="launchctl is part of macOS; elsewhere use another adapter",
            ) from error
        decoded = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
        return Answer(done.returncode, *decoded)


def refusal(what: str, answer: Answer) -> PlatformError:
    """The error for an answer that nobody expected."""
    said = f"cannot {what}: launchctl: {answer.text}"
    if answer.trouble is Trouble.DENIED:
        return AccessError(said, remedy="the system domain needs root, a user's domain that user")
    if answer.trouble is Trouble.NO_DOMAIN:
        return PlatformError(
            said, remedy="gui/UID needs that user to be logged in at the screen; user/UID and system do not"
        )
    return PlatformError(said)
