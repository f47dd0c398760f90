"""Running wos-ctl: one call with a deadline, or a stream of lines until it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence

import msgspec

from duende.adapters.container.threads import Threads
from duende.errors import NotSupportedError, PlatformIOError, PlatformTimeoutError

AT_ONCE = 64
"""Commands that run side by side: a stop is one that waits for the daemon."""
LINE = 1 << 20
"""Bytes of a line that a stream may have."""
REMEDY = "install WOS, put its wos-ctl on PATH, or name it: platform.wos.command"


class Answer(msgspec.Struct, frozen=True):
    """How one command ended."""

    code: int
    out: bytes
    err: bytes


class Control:
    """One wos-ctl, speaking to one kernel."""

    def __init__(self, command: str, home: str | None, timeout: float) -> None:
        self.command = command
        self.home = home
        self.timeout = timeout
        self._threads = Threads(AT_ONCE)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.command, self.home or ""

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "WOS_HOME": self.home} if self.home else os.environ

    def program(self) -> str:
        """The file of the command.

        Raises:
            NotSupportedError: there is none.
        """
        found = shutil.which(self.command)
        if found is None:
            raise NotSupportedError(
                "wos", f"be driven here: there is no program {self.command!r}", remedy=REMEDY
            )
        return found

    async def call(self, words: Sequence[str], timeout: float | None = None) -> Answer:
        """Run it, within *timeout* seconds.

        Raises:
            NotSupportedError: there is no such program.
            PlatformTimeoutError: it did not end in time; it is ended.
            PlatformIOError: it cannot be run, or was killed.
        """
        argv = [self.program(), *words]
        limit = self.timeout if timeout is None else timeout
        what = f"have an answer of wos-ctl {words[0]}"

        def work() -> Answer:
            try:
                done = subprocess.run(
                    argv,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=limit,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise PlatformTimeoutError(what, limit) from error
            except OSError as error:
                raise PlatformIOError(f"cannot run {argv[0]}: {error.strerror}", remedy=REMEDY) from error
            if done.returncode < 0:
                raise PlatformIOError(f"wos-ctl {words[0]} was killed by signal {-done.returncode}")
            return Answer(done.returncode, done.stdout, done.stderr)

        return await self._threads.call(
            what, limit + 1.0, work
        )  # one second more covers the start of a thread

    async def lines(self, words: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """The lines that it prints, as they come; it is ended when nobody wants more.

        Raises:
            NotSupportedError: there is no such program.
            PlatformIOError: it cannot be run.
        """
        loop = asyncio.get_running_loop()
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - it does not wait for the program
                [self.program(), *words],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise PlatformIOError(f"cannot run {self.command}: {error.strerror}", remedy=REMEDY) from error
        reader = asyncio.StreamReader(limit=LINE, loop=loop)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader, loop=loop), process.stdout
        )
        try:
            while line := await reader.readline():
                yield line.rstrip(b"\n")
        finally:
            transport.close()
            process.kill()
            process.wait()
