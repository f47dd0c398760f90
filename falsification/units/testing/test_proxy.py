"""The proxy does to operations what the seed says, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from duende.errors import ConfigError
from duende.testing import proxy as proxy_module
from duende.testing.dice import Dice, fires
from duende.testing.proxy import TcpProxy, UdpProxy, Weather
from falsification.units.support import run
from falsification.units.testing.echo import ask


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Echoes until the client has finished; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # reset by the proxy: what the tests are about
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def tcp(weather: Weather, seed: int = 1) -> AsyncIterator[TcpProxy]:
    """An active proxy before an echo server."""
    async with echo_server() as port:
        made = TcpProxy(port, weather, Dice(seed))
        await made.open()
        made.active = True
        try:
            yield made
        finally:
            await made.close()


def test_fair_weather_changes_nothing() -> None:
    """Inactive, or with nothing to inject, every byte arrives, also a megabyte and a half-closed stream."""

    async def live() -> None:
        async with tcp(Weather(error=1.0, latency=1.0, delay=9.0)) as made:
            made.active = False
            blob = bytes(range(256)) * 4096
            reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
            writer.write(blob)
            writer.write_eof()
            assert await reader.read(-1) == blob
            writer.close()
            assert (made.seen.connections, made.seen.resets, made.seen.waits.count) == (1, 0, 0)
            assert Weather().fair
            assert not made.weather.fair

    run(live())


def test_latency_is_added_to_the_operations_of_the_seed() -> None:
    """Exactly the operations that the seed picks are held back, for at least the delay."""

    async def live() -> None:
        loop = asyncio.get_running_loop()
        async with tcp(Weather(latency=0.3, delay=0.05), seed=11) as made:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
            slow = []
            for number in range(20):
                began = loop.time()
                writer.write(b"x\n")
                await reader.readline()
                if loop.time() - began >= 0.05:
                    slow.append(number)
            wanted = [number for number in range(20) if fires(11, "latency", number, 0.3)]
            assert wanted
            assert set(wanted) <= set(slow)
            assert made.seen.waits.count == len(wanted)
            assert made.seen.waits.p50_ms >= 49
            writer.close()

    run(live())


def test_errors_reset_connections() -> None:
    """The operations that the seed picks get a reset, and the daemon never sees them."""

    async def live() -> None:
        async with tcp(Weather(error=0.5), seed=5) as made:
            failed = []
            for number in range(30):
                try:
                    await ask(made.port)
                except ConnectionResetError:
                    failed.append(number)
            assert failed == [number for number in range(30) if fires(5, "error", number, 0.5)]
            assert made.seen.resets == len(failed) > 5

    run(live())


def test_loss_on_tcp_is_waiting_for_retransmission(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost operation waits for its retransmission, doubling; always lost means a broken connection."""
    monkeypatch.setattr(proxy_module, "RETRANSMISSION_TIMEOUT", 0.002)

    async def live() -> None:
        async with tcp(Weather(loss=0.5), seed=3) as made:
            broken = 0
            for _ in range(20):
                try:
                    await ask(made.port)
                except ConnectionResetError:
                    broken += 1
            assert made.seen.broken == broken < 5
            assert made.seen.lost >= 3
            assert made.seen.waits.count >= 3
        async with tcp(Weather(loss=1.0)) as made:
            with pytest.raises(ConnectionResetError):
                await ask(made.port)
            assert (made.seen.broken, made.seen.lost) == (1, proxy_module.GIVE_UP)

    run(live())


def test_a_closed_port_refuses_and_comes_back() -> None:
    """`refuse` resets what is connected and refuses what comes; `open` accepts at the same port again."""

    async def live() -> None:
        async with tcp(Weather()) as made:
            port = made.port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x\n")
            assert await reader.readline() == b"x\n"
            await made.refuse()
            with pytest.raises(ConnectionResetError):
                await reader.readline()
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await ask(port)
            await made.open()
            assert made.port == port
            await ask(port)

    run(live())


def test_a_daemon_that_does_not_listen_is_told_apart() -> None:
    """Connections the daemon refused are counted as its own, not as injected errors."""

    async def live() -> None:
        async with echo_server() as port:
            pass
        made = TcpProxy(port, Weather(), Dice(1))
        await made.open()
        with pytest.raises(ConnectionError):
            await ask(made.port)
        assert (made.seen.refused, made.seen.resets) == (1, 0)
        await made.close()

    run(live())


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: CPython 3.11's own datagram transport is none by inheritance.
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


class _Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.put_nowait(data)


def test_udp_datagrams_are_really_lost() -> None:
    """About p of the datagrams never arrive in each direction, the others do, unharmed."""

    async def live() -> None:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(_Echo, local_addr=("127.0.0.1", 0))
        made = UdpProxy(
            server.get_extra_info("sockname")[1], Weather(loss=0.2, latency=0.1, delay=0.001), Dice(9)
        )
        await made.open()
        transport, client = await loop.create_datagram_endpoint(_Client, remote_addr=("127.0.0.1", made.port))
        transport.sendto(b"fair")
        assert await asyncio.wait_for(client.got.get(), 5) == b"fair"
        made.active = True
        sent = 200
        for number in range(sent):
            transport.sendto(str(number).encode())
            await asyncio.sleep(0)
        end = loop.time() + 10
        while made.seen.operations < sent + 1 or made.seen.lost + client.got.qsize() < sent:
            assert loop.time() < end, made.seen
            await asyncio.sleep(0.005)
        arrived = {client.got.get_nowait() for _ in range(client.got.qsize())}
        assert arrived <= {str(number).encode() for number in range(sent)}
        assert len(arrived) + made.seen.lost == sent
        assert 36 <= made.seen.lost <= 108  # 72 expected: 1 - 0.8 x 0.8, five standard deviations
        transport.close()
        await made.close()
        server.close()

    run(live())
    with pytest.raises(ConfigError, match="no connection"):
        UdpProxy(1, Weather(error=0.1), Dice(0))
