"""The owner's side of a companion process: start it, hear that it does what it is for, end it for certain."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from duende.errors import PlatformResourceError
from duende.kernel.process import send_signal

SCRIPT = Path(__file__).with_name("companion.py")
START_TIMEOUT = 20.0
"""Seconds for a companion to do what it is for: a gigabyte is touched in about one."""
ANSWER_TIMEOUT = 5.0
"""Seconds for one answer."""
END_TIMEOUT = 5.0
"""Seconds to end by itself when the socket is closed; then it is killed."""


class Companion:
    """One companion process; see `duende.testing.companion` for what there is."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.ready: list[str] = []
        """The words it said when it was ready."""

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @classmethod
    async def start(cls, *words: str) -> Self:
        """Start one and wait until it is ready.

        Raises:
            PlatformResourceError: it ended or was not ready in time, as one for which there is no memory.
        """
        ours, theirs = socket.socketpair()
        try:
            # Its own session: a Ctrl-C in the terminal must not end the guard before it has resumed what is paused.
            process = subprocess.Popen(  # noqa: ASYNC220  (returns when the program is exec'd, after a millisecond)
                [sys.executable, "-I", "-S", str(SCRIPT), *words],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,
                env={**os.environ, "DUENDE_OWNER": str(os.getpid())},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        made = cls(process, reader, writer)
        try:
            made.ready = (await made._line(START_TIMEOUT)).split()
        except BaseException:
            await made.close()
            raise
        return made

    async def ask(self, line: str) -> str:
        """Say a line and give the answer.

        Raises:
            PlatformResourceError: it is gone, or does not answer in time.
        """
        self._writer.write(line.encode() + b"\n")
        return await self._line(ANSWER_TIMEOUT)

    async def close(self) -> bool:
        """End it; whether its process is gone for certain. Closing twice is harmless."""
        self._writer.close()
        if self._process.returncode is not None:
            return True
        fd = os.pidfd_open(self.pid)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(fd, _finish, ended)
        try:
            await asyncio.wait((ended,), timeout=END_TIMEOUT)
            if not ended.done():
                # Not reaped yet, so the number is still its own.
                send_signal(self.pid, 9)
                await asyncio.wait((ended,), timeout=END_TIMEOUT)
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return self._process.poll() is not None

    async def _line(self, timeout: float) -> str:
        try:
            async with asyncio.timeout(timeout):
                raw = await self._reader.readline()
        except TimeoutError:
            raw = b""
        except ConnectionError:
            raw = b""
        if not raw:
            raise PlatformResourceError(
                f"the companion process {self.pid} did not answer within {timeout:g} s, or was killed",
                remedy="look for the kernel's OOM killer (dmesg), and ask for less",
            )
        return raw.decode().strip()


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
