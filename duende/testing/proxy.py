"""A loopback proxy in front of a daemon's port, on which operations are late, lost or answered with a reset.

An operation is what arrives from a client in one read: a request, for protocols that wait for their answers; a datagram for UDP. What happens to
operation n is a pure function of the seed and n.

Without privileges no packet can be taken from a TCP stream: the kernel would send it again, and the application would never see a gap but a
pause. So loss on TCP is what an application sees of it: the data waits for a retransmission timeout, which doubles with each further loss of the
same segment (RFC 6298, 5.5), and after `GIVE_UP` losses in a row the connection breaks. On UDP a lost datagram is really gone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import msgspec

from duende.errors import ConfigError, PlatformIOError
from duende.testing.dice import Dice
from duende.testing.histogram import Histogram, Latencies

RETRANSMISSION_TIMEOUT = 0.2
"""Seconds until data is sent again: TCP_RTO_MIN of Linux (include/net/tcp.h). RFC 6298 would have 1."""
GIVE_UP = 6
"""Losses of the same data after which a connection breaks: 12.6 s of waiting. Linux has 15 (tcp_retries2), which no test waits for."""
CONNECT_TIMEOUT = 5.0
"""Seconds for the daemon to accept."""
BLOCK = 1 << 16
CLIENTS = 1024
"""UDP clients remembered; the oldest is forgotten first."""
LATENCY, ERROR, LOSS = "latency", "error", "loss"


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """What may happen to an operation. Probabilities are 0 to 1 for each operation."""

    latency: float = 0.0
    delay: float = 0.0
    """Seconds that a late operation waits."""
    error: float = 0.0
    """TCP: the connection is reset (RST) instead of passing the operation on."""
    loss: float = 0.0

    @property
    def fair(self) -> bool:
        """Whether nothing can happen."""
        return not (self.latency or self.error or self.loss)


class Seen(msgspec.Struct, kw_only=True):
    """What a proxy did, counted where it was done."""

    connections: int = 0
    operations: int = 0
    resets: int = 0
    lost: int = 0
    """TCP: retransmissions waited for. UDP: datagrams dropped."""
    broken: int = 0
    """TCP connections that broke after `GIVE_UP` losses in a row."""
    refused: int = 0
    """Connections the daemon itself did not accept."""
    waits: Latencies = Latencies()
    """How long delayed operations were really held back."""


class Proxy:
    """The part that TCP and UDP share: chance, counters, and the verdict on an operation."""

    def __init__(self, upstream: int, weather: Weather, dice: Dice, *, host: str = "127.0.0.1") -> None:
        self.upstream = upstream
        self.weather = weather
        self.active = False
        """Whether the weather is on; off, everything passes unharmed."""
        self.port = 0
        """Where clients connect, on loopback, after `open`."""
        self._host = host
        self._dice = dice
        self._seen = Seen()
        self._waits = Histogram()

    @property
    def seen(self) -> Seen:
        """What was done so far."""
        return msgspec.structs.replace(self._seen, waits=self._waits.summary())

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(seconds)
        self._waits.record(max(0.0, loop.time() - began))

    def _rolls(self, kind: str, probability: float) -> bool:
        return probability > 0 and self._dice.roll(kind, probability)


class TcpProxy(Proxy):
    """Forwards TCP connections to *upstream* on loopback; `refuse` closes the port itself."""

    def __init__(self, upstream: int, weather: Weather, dice: Dice, *, host: str = "127.0.0.1") -> None:
        super().__init__(upstream, weather, dice, host=host)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on a free port, or on the same one again after `refuse`.

        Raises:
            PlatformIOError: there is none, or somebody took it meanwhile.
        """
        try:
            self._server = await asyncio.start_server(self._accepted, self._host, self.port, limit=BLOCK)
        except OSError as error:
            raise PlatformIOError(f"cannot listen on {self._host} port {self.port}: {error}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Close the port: new connections are refused (ECONNREFUSED) until `open`; those that exist are reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._end_all()

    async def close(self) -> None:
        """Close the port and every connection."""
        await self.refuse()

    async def _end_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._seen.connections += 1
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            _reset(writer)  # the proxy is closing: that is an end of the connection, not of somebody's task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                far_reader, far_writer = await asyncio.open_connection(self._host, self.upstream)
        except (OSError, TimeoutError):
            self._seen.refused += 1
            _reset(writer)
            return
        there = asyncio.create_task(self._pump(reader, far_writer, operations=True))
        back = asyncio.create_task(self._pump(far_reader, writer, operations=False))
        clean = False
        try:
            done = await asyncio.gather(there, back)
            clean = all(done)
        except ConnectionError:
            pass  # one end broke the connection: so is the other's
        finally:
            for task in (there, back):
                task.cancel()
            # Before anything is awaited: a second cancellation must not leave a connection open.
            for each in (writer, far_writer):
                if clean:
                    each.close()
                else:
                    _reset(each)
            await asyncio.gather(there, back, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, operations: bool
    ) -> bool:
        """Forward until the end of the stream; raises ConnectionResetError where the weather says so."""
        while data := await reader.read(BLOCK):
            if operations:
                self._seen.operations += 1
                await self._weather()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return True

    async def _weather(self) -> None:
        if not self.active:
            return
        weather = self.weather
        # Every kind is drawn for every operation, so that the draws of one kind do not depend on another's.
        error, late = self._rolls(ERROR, weather.error), self._rolls(LATENCY, weather.latency)
        losses = 0
        while losses < GIVE_UP and self._rolls(LOSS, weather.loss):
            losses += 1
        self._seen.lost += losses
        if error:
            self._seen.resets += 1
            raise ConnectionResetError("reset by the proxy")
        wait = (weather.delay if late else 0.0) + RETRANSMISSION_TIMEOUT * (2**losses - 1)
        if wait:
            await self._wait(wait)
        if losses >= GIVE_UP:
            self._seen.broken += 1
            raise ConnectionResetError("lost too often")


class UdpProxy(Proxy):
    """Forwards datagrams to *upstream* on loopback and the answers back; lost ones are dropped, in both directions."""

    def __init__(self, upstream: int, weather: Weather, dice: Dice, *, host: str = "127.0.0.1") -> None:
        if weather.error:
            raise ConfigError(
                "UDP has no connection that could be reset", remedy="use packet_loss", key="error_injection"
            )
        super().__init__(upstream, weather, dice, host=host)
        self._front: asyncio.DatagramTransport | None = None
        self._far: dict[tuple[str, int], asyncio.DatagramTransport] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on a free port.

        Raises:
            PlatformIOError: there is none.
        """
        loop = asyncio.get_running_loop()
        try:
            self._front, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._from_client), local_addr=(self._host, self.port)
            )
        except OSError as error:
            raise PlatformIOError(f"cannot listen on {self._host} port {self.port}: {error}") from error
        self.port = self._front.get_extra_info("sockname")[1]

    async def close(self) -> None:
        """Close all sockets."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in (self._front, *self._far.values()):
            if each is not None:
                each.close()
        self._front = None
        self._far.clear()

    def _from_client(self, data: bytes, client: tuple[str, int]) -> None:
        self._seen.operations += 1
        task = asyncio.get_running_loop().create_task(self._forward(data, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, client: tuple[str, int]) -> None:
        if self.active:
            lost, late = self._rolls(LOSS, self.weather.loss), self._rolls(LATENCY, self.weather.latency)
            if lost:
                self._seen.lost += 1
                return
            if late:
                await self._wait(self.weather.delay)
        if client not in self._far:
            self._seen.connections += 1
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(lambda answer, _: self._answer(answer, client)),
                remote_addr=(self._host, self.upstream),
            )
            if client in self._far:
                transport.close()  # two datagrams of a new client at once: the first one's socket serves both
            else:
                self._far[client] = transport
                if len(self._far) > CLIENTS:
                    self._far.pop(next(iter(self._far))).close()
        self._far[client].sendto(data)

    def _answer(self, data: bytes, client: tuple[str, int]) -> None:
        if self.active and self._rolls(LOSS, self.weather.loss):
            self._seen.lost += 1
        elif self._front is not None:
            self._front.sendto(data, client)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass it on."""
        self._received(data, addr)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: what is buffered is thrown away (SO_LINGER with 0 seconds, socket(7))."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # closed by the other side already
    writer.transport.abort()
