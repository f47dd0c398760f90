"""Two ways to reach a manager, with the same operations: in this process, and in one of its own over the
control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from duende.adapters.contract import PlatformAdapter
from duende.clock import SYSTEM_CLOCK, Clock
from duende.config.load import decode_json
from duende.config.model import DaemonConfig
from duende.errors import DuendeError
from duende.manager import DaemonManager
from duende.manager.protocol import certificate, event
from duende.signals import Signal
from fixtures.lease import Reaper
from scenarios.look import Watched
from scenarios.tables import to_toml

Table = dict[str, Any]
"""A `[[daemon]]` table as in TOML."""
Listener = Callable[[dict[str, Any]], None]
CONNECT_WITHIN = 20.0
TRY_EVERY = 0.01
LINE_LIMIT = 16 * 1024 * 1024

ROOT = Path(__file__).resolve().parents[1]
DUENDE = (
    sys.executable,
    "-I",
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from duende.cli import main; sys.exit(main())",
)
"""The command of this very tree, installed or not."""


def decode(table: Table) -> DaemonConfig:
    """The configuration that a table says.

    Raises:
        ConfigError: it is wrong.
    """
    return decode_json(json.dumps(table))


class RefusedError(Exception):
    """The manager answered with an error; `kind` is its class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class Driver(Protocol):
    """What a lab asks of a manager. Answers are plain values, the same from both."""

    async def ask(self, op: str, **fields: Any) -> Any:
        """One operation of the control protocol.

        Raises:
            RefusedError: the manager refused.
            ConnectionError: it is not there any more.
        """
        ...

    async def close(self) -> None:
        """Leave; daemons are stopped."""
        ...


class InProcess:
    """A `DaemonManager` in this event loop."""

    def __init__(
        self,
        folder: Path,
        *,
        adapter: PlatformAdapter | None = None,
        clock: Clock = SYSTEM_CLOCK,
        keep: bool = False,
    ) -> None:
        self.manager = DaemonManager(
            adapter=adapter,
            state_dir=str(folder / "state"),
            runtime_dir=str(folder / "run"),
            clock=clock,
            keep=keep,
        )

    async def open(self, listener: Listener) -> None:
        """Open the manager; *listener* gets its events."""
        await self.manager.open()
        self.manager.subscribe(lambda happened: listener(event(happened)))

    async def ask(self, op: str, **fields: Any) -> Any:
        """One operation; the names are those of the control protocol, and `register` with a `table`."""
        try:
            return await self._ask(op, fields)
        except DuendeError as error:
            raise RefusedError(type(error).__name__, str(error)) from error

    async def _ask(self, op: str, fields: dict[str, Any]) -> Any:
        manager, name = self.manager, str(fields.get("name", ""))
        if op == "register":
            return manager.register(decode(fields["table"])).to_wire()
        if op == "list":
            return [view.to_wire() for view in manager.list()]
        if op == "status":
            return manager.status(name).to_wire()
        if op == "start":
            return (await manager.start(name)).to_wire()
        if op == "restart":
            return (await manager.restart(name)).to_wire()
        if op == "stop":
            return certificate(await manager.stop(name))
        if op == "signal":
            await manager.signal(name, Signal.parse(fields["signal"]))
            return {"name": name}
        if op == "unregister":
            await manager.unregister(name)
            return {"name": name}
        if op == "logs":
            return await manager.logs(name, int(fields.get("lines", 100)))
        raise RefusedError("NotSupportedError", f"no operation {op!r}")

    async def close(self) -> None:
        """Close the manager, which stops everything."""
        await self.manager.close()


class Connection:
    """Newline-delimited JSON over one connection to a control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Connection:
        """Connect.

        Raises:
            OSError: nobody listens.
        """
        return cls(*await asyncio.open_unix_connection(str(path), limit=LINE_LIMIT))

    async def ask(self, op: str, **fields: Any) -> Any:
        """One request and its answer; raises as `Driver.ask`."""
        async with self._turn:
            self._writer.write(json.dumps({"op": op, **fields}).encode() + b"\n")
            await self._writer.drain()
            answer = await self.line()
        if answer.get("ok"):
            return answer.get("result")
        error = answer.get("error") or {}
        raise RefusedError(str(error.get("kind", "?")), str(error.get("message", answer)))

    async def line(self) -> dict[str, Any]:
        """The next line.

        Raises:
            ConnectionError: there will be none.
        """
        line = await self._reader.readline()
        if not line:
            raise ConnectionResetError("the manager hung up")
        found = json.loads(line)
        return found if isinstance(found, dict) else {}

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class OwnProcess:
    """A manager started by its command, and its control socket."""

    def __init__(self, folder: Path, reaper: Reaper, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = environment or {}
        self.fleet = folder / "FLEET.toml"
        self.socket = folder / "run" / "control.sock"
        self._reaper = reaper
        self._connection: Connection | None = None
        self._listening: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    def write_fleet(self, tables: list[Table]) -> None:
        """What the manager is started with."""
        self.fleet.write_text(to_toml(tables))

    async def begin(self) -> int:
        """Start the process and do not wait; its pid."""
        paths = ["--state-dir", str(self.folder / "state"), "--runtime-dir", str(self.folder / "run")]
        command = [*DUENDE, "manager", str(self.fleet), *paths, "--foreground"]
        # One short open of a local file before anything runs that a pause could disturb.
        with open(self.folder / "manager.log", "ab") as log:  # noqa: ASYNC230
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment, **self._reaper.environment},
            )
        self._reaper.lease_process("kill", self.process.pid)
        return self.process.pid

    async def open(self, listener: Listener) -> None:
        """Start it and connect; *listener* gets its events.

        Raises:
            ConnectionError: it ended, or its socket did not appear in time.
        """
        await self.begin()
        await self.connect()
        events = await Connection.open(self.socket)
        for happened in await events.ask("events", lines=10_000) or []:
            listener(happened)
        self._listening = asyncio.create_task(self._listen(events, listener))

    async def connect(self) -> None:
        """Connect to its control socket as soon as that is there.

        Raises:
            ConnectionError: it ended, or its socket did not appear in time.
        """
        process = self.process
        if process is None:
            raise ConnectionError("the manager was not started")
        deadline = time.monotonic() + CONNECT_WITHIN
        while process.returncode is None and time.monotonic() < deadline:
            try:
                self._connection = await Connection.open(self.socket)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(TRY_EVERY)  # not there yet, or left behind by a manager that was killed
        if process.returncode is None:
            raise ConnectionError("no control socket")
        raise ConnectionError(f"the manager ended with {process.returncode}: {self.log()[-500:]}")

    async def _listen(self, events: Connection, listener: Listener) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                message = await events.line()
                if "event" in message:
                    listener(message["event"])
        await events.close()

    async def ask(self, op: str, **fields: Any) -> Any:
        """One operation over the socket."""
        if self._connection is None:
            raise ConnectionResetError("not connected")
        return await self._connection.ask(op, **fields)

    def signal(self, number: int) -> None:
        """Send a signal to the manager process itself."""
        if self.process is not None and self.process.returncode is None:
            try:
                held = Watched(self.process.pid)
            except ProcessLookupError:
                return  # it has ended and was reaped, only asyncio has not said so yet
            held.send(number)
            held.close()

    async def ended(self, within: float) -> int | None:
        """Its exit code, or None when it has not ended *within* so many seconds."""
        if self.process is None:
            return None
        try:
            return await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            return None

    def log(self) -> str:
        """What the manager printed."""
        try:
            return (self.folder / "manager.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    async def close(self) -> None:
        """TERM, patience, KILL."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        self.signal(signal.SIGTERM)
        if await self.ended(CONNECT_WITHIN) is None:
            self.signal(signal.SIGKILL)
            await self.ended(CONNECT_WITHIN)
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
