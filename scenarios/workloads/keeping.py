"""Clients of a keeper (`fixtures/keeper.py`), and observers of how many of it there are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenarios.lab import Lab
from scenarios.look import outside
from scenarios.workloads.observers import Generation

ANSWER_WITHIN = 1.0
"""Seconds a client waits for an answer. It takes milliseconds; a paused keeper gives none."""
PAUSE = 0.04
"""Mean seconds between two requests of one client."""
READ_EVERY = 12
"""Of so many requests of one client one asks for everything."""
LINE_LIMIT = 16 * 1024 * 1024
LOOK_EVERY = 0.05
"""Seconds between two counts of the instances."""
FOLLOW_EVERY = 0.02


class Client:
    """One client: its requests are operations of the history, in order.

    A request that never reached the keeper failed; one without an answer may have taken effect, or still will.
    """

    def __init__(self, lab: Lab, name: str, socket: Path) -> None:
        self._lab = lab
        self._name = name
        self._socket = socket
        self._chance = lab.rng(name)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._count = 0
        self.acknowledged_at = -1.0
        """When the latest request that was acknowledged had been made, in seconds of the history."""

    async def work(self, done: Callable[[], bool]) -> None:
        """One request after the other until *done* says so."""
        while not done():
            if self._count % READ_EVERY == READ_EVERY - 1:
                await self.read()
            await self.put()
            await asyncio.sleep(self._chance.uniform(0, 2 * PAUSE))

    async def put(self) -> bool:
        """Have a value kept that nobody else ever puts; whether it was acknowledged."""
        self._count += 1
        value = f"{self._name}.{self._count}"
        return await self._ask("put", f"put {value}", {"value": value}) is not None

    async def read(self) -> list[str] | None:
        """Everything that is kept, None when there was no answer."""
        self._count += 1
        return await self._ask("read", "all", {})

    async def _ask(self, f: str, line: str, value: dict[str, Any]) -> list[str] | None:
        begun = self._lab.history.invoke(self._name, f, value)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                if self._streams is None:
                    self._streams = await asyncio.open_unix_connection(str(self._socket), limit=LINE_LIMIT)
        except (OSError, TimeoutError) as error:
            self._lab.history.fail(begun, {**value, "error": type(error).__name__})
            return None
        reader, writer = self._streams
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                writer.write(line.encode() + b"\n")
                await writer.drain()
                answer = (await reader.readline()).decode()
            if not answer.endswith("\n"):
                raise ConnectionResetError("the keeper hung up")
        except (OSError, TimeoutError) as error:
            await self.close()
            self._lab.history.info(begun, {**value, "error": type(error).__name__})
            return None
        words = answer.split()[1:]
        self._lab.history.ok(begun, value if f == "put" else {"values": words})
        self.acknowledged_at = begun.time
        return words

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            streams, self._streams = self._streams, None
            streams[1].close()
            with contextlib.suppress(ConnectionError):
                await streams[1].wait_closed()


def holders(path: Path) -> list[int]:
    """Processes of this machine, whatever their namespaces, that have the file *path* open."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return []
    file = (wanted.st_dev, wanted.st_ino)
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) > 1]
    return [pid for pid in pids if _holds(pid, file)]


def _holds(pid: int, file: tuple[int, int]) -> bool:
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                there = os.stat(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue  # closed meanwhile
            if (there.st_dev, there.st_ino) == file:
                return True
    except OSError:
        return False  # it has ended
    return False


async def count(lab: Lab, name: str, lock: Path) -> None:
    """Note again and again which processes hold the lock file open, until cancelled.

    The process table is no snapshot: what looks like two is looked at again, and both must still be there.
    """
    while True:
        pids = await asyncio.to_thread(holders, lock)
        if len(pids) > 1:
            again = await asyncio.to_thread(holders, lock)
            pids = [pid for pid in pids if pid in again]
        lab.observe("instances", name=name, pids=pids)
        await asyncio.sleep(LOOK_EVERY)


def lives(folder: Path) -> list[dict[str, Any]]:
    """What the keepers have noted so far."""
    try:
        text = (folder / "lives").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


async def follow(lab: Lab, name: str, folder: Path, generations: list[Generation]) -> None:
    """Take up every life as soon as it is noted, until cancelled; one that clashed is noted as such."""
    seen = 0
    while True:
        for line in lives(folder)[seen:]:
            seen += 1
            if "begin" not in line:
                continue
            began = lab.history.since_start(line["begin"])
            lab.observe("life", name=name, **{**line, "begin": began})
            try:
                generations.append(Generation(lab, name, [outside(line["pid"], line["space"])], began))
            except ProcessLookupError:
                # It is over already: not later than now.
                ended = lab.history.now()
                lab.observe("generation", name=name, pid=line["pid"], began=began, ended=ended)
        await asyncio.sleep(FOLLOW_EVERY)
