"""The manager's control socket: one JSON object a line, requests and answers (see `protocol`)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from duende.errors import AlreadyRunningError, DaemonIOError, DuendeError, StateError
from duende.manager import protocol
from duende.manager.applying import Applied
from duende.manager.manager import DaemonManager
from duende.signals import Signal
from duende.supervision import SupervisorEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.manager.sampling import Sampling
    from duende.observe.exposition import Family
    from duende.observe.spans import Spans

LARGEST_REQUEST = 1 << 20
LARGEST_BACKLOG = 4 << 20
"""Bytes a slow reader of events may be behind before it is cut off."""
LONG_AGO = "1000d"
"""The whole of a history."""
TURNS_TO_CLOSE = 8
"""Turns of the event loop given to closing connections; a client that does not read is not waited for."""


class Control:
    """Serves requests for one manager."""

    def __init__(
        self, manager: DaemonManager, shutdown: Callable[[], Awaitable[None]], applied: Applied | None = None
    ) -> None:
        self._manager = manager
        self._applied = applied or Applied(manager)
        self._shutdown = shutdown
        self._path = os.path.join(manager.folders.runtime_dir, protocol.SOCKET_NAME)
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._closed = False
        self._decoder = msgspec.json.Decoder(protocol.Request)
        self._spans: Spans | None = None
        self.sampling: Sampling | None = None
        """The manager's monitor, where it has one."""

    @property
    def spans(self) -> Spans:
        """What was asked for in a trace; made when the first is."""
        if self._spans is None:
            from duende.observe.spans import Spans

            self._spans = Spans("duende-manager", environ={})
        return self._spans

    async def open(self) -> None:
        """Listen; only this user may connect.

        Raises:
            AlreadyRunningError: another manager answers there.
            DaemonIOError: the socket cannot be made.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self._path)
            except FileNotFoundError:
                pass  # the first one here
            except OSError:
                os.unlink(self._path)  # nobody listens any more
            else:
                raise AlreadyRunningError(
                    f"cannot listen on {self._path}: a manager answers there",
                    remedy="use another --runtime-dir",
                )
        try:
            loop = asyncio.get_running_loop()
            old = os.umask(0o177)
            try:
                self._server = await loop.create_unix_server(
                    lambda: Connection(self), self._path, backlog=512
                )
            finally:
                os.umask(old)
        except OSError as error:
            raise DaemonIOError.of("listen on", self._path, error, "use a shorter --runtime-dir") from error

    async def close(self) -> None:
        """Stop listening, send what was answered, hang up on every client and remove the socket."""
        self._closed = True
        if self._server is not None:
            for _ in range(TURNS_TO_CLOSE):
                if not any(_is_arriving(task) for task in asyncio.all_tasks()):
                    break
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.close()
        for _ in range(TURNS_TO_CLOSE):  # a transport closes its socket in a later turn of the loop
            if not self._connections:
                break
            await asyncio.sleep(0)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass  # removed by hand

    def connected(self, connection: Connection) -> None:
        """A client came; one accepted as listening ended is sent away."""
        self._connections.add(connection)
        if self._closed:
            connection.close()

    def gone(self, connection: Connection) -> None:
        """A client went."""
        self._connections.discard(connection)

    def families(self) -> list[Family]:
        """The metrics of all daemons, as they are now."""
        from duende.manager.metrics import families_of

        found = families_of(self._manager.list(), trouble=self._manager.journal.trouble)
        return found + (self.sampling.families() if self.sampling is not None else [])

    def metrics(self, request: bytes) -> bytes:
        """The HTTP answer to a request for metrics."""
        from duende.manager.scraping import answered

        return answered(request, self.families)

    def handle(self, connection: Connection, line: bytes) -> None:
        """Answer one request; quick ones at once, others when they are done."""
        try:
            request = self._decoder.decode(line)
        except msgspec.MsgspecError as error:
            connection.answer(
                {
                    "ok": False,
                    "error": {"kind": "SerializationError", "message": f"cannot read the request: {error}"},
                }
            )
            return
        try:
            if request.op == "status":
                connection.answer(
                    {"ok": True, "id": request.id, "result": self._manager.status(request.name).to_wire()}
                )
            elif request.op == "list":
                connection.answer(
                    {
                        "ok": True,
                        "id": request.id,
                        "result": [view.to_wire() for view in self._manager.list()],
                    }
                )
            elif request.op == "metrics":
                from duende.observe.exposition import openmetrics, prometheus

                write = openmetrics if request.values.get("format") == "openmetrics" else prometheus
                connection.answer({"ok": True, "id": request.id, "result": write(self.families())})
            elif request.op == "ping":
                connection.answer({"ok": True, "id": request.id, "result": {"pid": os.getpid()}})
            else:
                task = asyncio.get_running_loop().create_task(self._slowly(connection, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except DuendeError as error:
            connection.answer(protocol.failure(request, error))

    async def _slowly(self, connection: Connection, request: protocol.Request) -> None:
        try:
            result = await self._do(connection, request)
        except DuendeError as error:
            connection.answer(protocol.failure(request, error))
            return
        except Exception as error:  # noqa: BLE001  (a bug in one request must not end the manager; the caller is told)
            connection.answer(protocol.failure(request, error))
            return
        connection.answer({"ok": True, "id": request.id, "result": result})
        if request.op == "shutdown":
            await self._shutdown()

    async def _do(self, connection: Connection, request: protocol.Request) -> Any:
        manager, name = self._manager, request.name
        if request.traceparent and request.op in ("start", "stop", "restart", "signal"):
            headers = {"traceparent": request.traceparent, "tracestate": request.tracestate}
            with self.spans.span(f"{request.op} {name}", headers=headers) as span:
                manager.hand_over(name, span.environment() if request.op in ("start", "restart") else {})
                return await self._do(connection, msgspec.structs.replace(request, traceparent=""))
        if request.op == "spans":
            return msgspec.to_builtins(list(self.spans.finished))
        if request.op == "start":
            return (await manager.start(name)).to_wire()
        if request.op == "stop":
            return protocol.certificate(await manager.stop(name))
        if request.op == "restart":
            return (await manager.restart(name)).to_wire()
        if request.op == "signal":
            await manager.signal(name, Signal.parse(request.signal))
            return None
        if request.op == "logs":
            return await manager.logs(name, request.lines)
        if request.op == "explain":
            return msgspec.to_builtins(await manager.explain(name))
        if request.op == "config":
            return msgspec.to_builtins(manager.config(name))
        if request.op == "limits":
            return await self._applied.limits(name, request.values)
        if request.op == "history":
            return self._history(name, request.values)
        if request.op == "log_path":
            return manager.log_path(name)
        if request.op == "load":
            return await self._applied.apply(request.path)
        if request.op == "unregister":
            await self._applied.forget(name)
            return None
        if request.op == "events":
            connection.follow(manager)
            return [protocol.event(event) for event in list(manager.events)[-request.lines :]]
        if request.op == "shutdown":
            return [protocol.certificate(found) for found in await manager.shutdown_all()]
        raise protocol.unknown(request.op)

    def _history(self, name: str, values: dict[str, str]) -> dict[str, Any]:
        from duende.config.units import parse_duration

        self._manager.status(name)
        if self.sampling is None:
            raise StateError(
                "this manager keeps no history of what daemons use",
                remedy="start it with --monitor 5s, or DUENDE_MONITOR=5s in its environment",
            )
        return self.sampling.told(name, parse_duration(values.get("last", LONG_AGO)))


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._cancel: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = transport  # type: ignore[assignment]
        self._control.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client went."""
        self._transport = None
        self._control.gone(self)
        if self._cancel is not None:
            self._cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes came; answer each whole line."""
        self._buffer += data
        if self._buffer.startswith(b"GET "):
            self._scraped()
            return
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if line.strip():
                self._control.handle(self, line)
        if len(self._buffer) > LARGEST_REQUEST and self._transport is not None:
            self._transport.abort()

    def _scraped(self) -> None:
        """Answer a client that speaks HTTP, once it has said all: curl --unix-socket PATH http://duende/metrics."""
        if self._transport is None:
            return
        if b"\r\n\r\n" in self._buffer or b"\n\n" in self._buffer:
            self._transport.write(self._control.metrics(bytes(self._buffer)))
            self._transport.close()
        elif len(self._buffer) > LARGEST_REQUEST:
            self._transport.abort()

    def answer(self, message: dict[str, Any]) -> None:
        """Send one object."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(msgspec.json.encode(message) + b"\n")

    def close(self) -> None:
        """Hang up once everything answered has been sent."""
        if self._transport is not None:
            self._transport.close()

    def follow(self, manager: DaemonManager) -> None:
        """Send every event from now on."""
        if self._cancel is None:
            self._cancel = manager.subscribe(self._send_event)

    def _send_event(self, event: SupervisorEvent) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size() > LARGEST_BACKLOG:
            self._transport.abort()
            return
        self.answer({"event": protocol.event(event)})


def _is_arriving(task: asyncio.Task[Any]) -> bool:
    """Whether the loop has accepted a client and not made its connection yet: a server that closes then loses its socket
    (asyncio's Server._attach asserts that it is open; 3.11 to 3.13).
    """
    return getattr(task.get_coro(), "__name__", "") == "_accept_connection2"
