"""Running the `pepita` command: one call with a deadline, or a stream of lines."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncGenerator
from typing import Any

from duende.adapters.container.threads import Threads
from duende.adapters.pepita import parse
from duende.errors import NotSupportedError, PlatformIOError, PlatformTimeoutError

LINE_LIMIT = 16 << 20
REMEDY = "install pepita, or say where it is by platform.pepita.command"
TAIL = 400


class Command:
    """One `pepita` program."""

    def __init__(self, program: str, timeout: float) -> None:
        self.program = program
        self.timeout = timeout
        self._threads = Threads()

    def path(self) -> str:
        """Where it is.

        Raises:
            NotSupportedError: there is none.
        """
        found = shutil.which(self.program)
        if found is None:
            raise NotSupportedError(
                "pepita", f"be used here: there is no program {self.program!r}", remedy=REMEDY
            )
        return found

    async def run(self, *words: str, timeout: float | None = None) -> tuple[int, str, str]:
        """Exit code, output and errors of one call.

        Raises:
            NotSupportedError: there is no such program.
            PlatformTimeoutError: it did not end in time, and was killed.
        """
        within = self.timeout if timeout is None else timeout
        argv = [self.path(), *words]
        return await self._threads.call(
            f"have pepita {words[0]}", within + 1.0, lambda: self._call(argv, within)
        )

    def _call(self, argv: list[str], within: float) -> tuple[int, str, str]:
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=within, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PlatformTimeoutError(f"have pepita {argv[1]}", within) from error
        except OSError as error:
            raise PlatformIOError(f"cannot run {argv[0]}: {error.strerror}", remedy=REMEDY) from error
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    async def facts(self, what: str, *words: str, timeout: float | None = None) -> Any:
        """The JSON answer of one call.

        Raises:
            InstanceNotFoundError: pepita knows no such VM, or it has ended.
            PlatformIOError: it failed otherwise.
        """
        code, out, err = await self.run(*words, timeout=timeout)
        answer = parse.answer_of(out) if out.strip() else {}
        if code:
            facts = answer.get("error") if isinstance(answer, dict) else None
            raise parse.error_of(
                facts or {"problem": err.strip()[-TAIL:] or f"pepita ended with {code}"}, what
            )
        return answer

    async def lines(self, *words: str) -> AsyncGenerator[str, None]:
        """The output of a call that goes on, line by line; closing the iterator ends the program."""
        loop = asyncio.get_running_loop()
        argv = [self.path(), *words]
        process = await loop.run_in_executor(None, lambda: _started(argv))
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stdout
        )
        try:
            while line := await reader.readline():
                yield line.decode(errors="replace").rstrip("\n")
        finally:
            transport.close()
            if process.poll() is None:
                process.terminate()  # our own child, not reaped yet: the number is its own
            await asyncio.shield(loop.run_in_executor(None, lambda: _ended(process)))


def _started(argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
