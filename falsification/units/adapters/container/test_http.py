"""The HTTP client: what HTTP says, however it is cut, and errors that tell what stood in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duende.adapters.container.http import UnixHttp, parse_head
from duende.adapters.container.threads import Threads
from duende.errors import PlatformIOError, PlatformTimeoutError
from falsification.units.support import run

TIMEOUT = 0.3


def serve(
    path: str, pieces: list[bytes], body: Callable[[UnixHttp], Awaitable[None]], *, stay: bool = True
) -> int:
    """Answer each request with *pieces*, one write each; how many connections were made."""
    connections = 0

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not stay:
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def whole() -> None:
        server = await asyncio.start_unix_server(one, path)
        client = UnixHttp(path, "docker", TIMEOUT)
        try:
            await body(client)
        finally:
            client.close()
            server.close()
            await server.wait_closed()

    run(whole())
    return connections


def cut(raw: bytes, sizes: list[int]) -> list[bytes]:
    """*raw* in pieces of these sizes, and the rest."""
    found, position = [], 0
    for size in sizes:
        found.append(raw[position : position + size])
        position += size
    return [piece for piece in (*found, raw[position:]) if piece]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    body=st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    sizes=st.lists(st.integers(1, 30), max_size=8),
    chunked=st.booleans(),
)
def test_answers_survive_any_cut(tmp_path: Path, body: list[bytes], sizes: list[int], chunked: bool) -> None:
    """The body is the same however the answer is cut on its way, and the connection is used again."""
    content = b"".join(body)
    if chunked:
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw += b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in body) + b"0\r\n\r\n"
    else:
        raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)

    async def ask(client: UnixHttp) -> None:
        for _ in range(2):
            answer = await client.request("GET", "/x")
            assert (answer.code, answer.body) == (200, content)

    path = tmp_path / "h.sock"
    path.unlink(missing_ok=True)
    assert serve(str(path), cut(raw, sizes), ask) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"A" * 200_000,
    ],
)
def test_garbage_is_one_error(tmp_path: Path, raw: bytes) -> None:
    """What is no HTTP is refused, with the socket's name."""

    async def ask(client: UnixHttp) -> None:
        with pytest.raises(PlatformIOError, match=r"h\.sock"):
            await client.request("GET", "/x")

    serve(str(tmp_path / "h.sock"), [raw], ask)


def test_half_an_answer(tmp_path: Path) -> None:
    """A connection that breaks in the middle of an answer is told as that; one that stays silent ends at the deadline."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"

    async def broken(client: UnixHttp) -> None:
        with pytest.raises(PlatformIOError, match="hung up"):
            await client.request("GET", "/x")

    async def silent(client: UnixHttp) -> None:
        with pytest.raises(PlatformTimeoutError):
            await client.request("GET", "/x")

    serve(str(tmp_path / "a.sock"), [half], broken, stay=False)
    serve(str(tmp_path / "b.sock"), [half], silent)


def test_streams_are_refused_and_end(tmp_path: Path) -> None:
    """A stream's first piece is empty: it is connected; an answer that is no stream is an error with its text."""

    async def ask(client: UnixHttp) -> None:
        assert [piece async for piece in client.stream("GET", "/events")] == [b"", b"ab"]

    async def refused(client: UnixHttp) -> None:
        with pytest.raises(PlatformIOError, match="500 no"):
            async for _ in client.stream("GET", "/events"):
                pass

    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    serve(str(tmp_path / "a.sock"), [chunks], ask)
    serve(str(tmp_path / "b.sock"), [b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno"], refused)


@given(raw=st.binary(max_size=100))
def test_any_head_is_read_or_refused(raw: bytes) -> None:
    """Whatever comes first, it is a head or a ValueError."""
    try:
        parse_head(raw)
    except ValueError:
        return


def test_threads_are_bounded_and_given_up() -> None:
    """Calls that hang hold so many threads at most; the next one ends at its deadline, and a free thread serves again."""
    import threading

    release = threading.Event()

    async def whole() -> None:
        threads = Threads(2)
        stuck = [asyncio.create_task(threads.call("hang", 5.0, release.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(PlatformTimeoutError, match="have a thread"):
            await threads.call("have a thread", 0.05, lambda: 1)
        release.set()
        assert [await each for each in stuck] == [True, True]
        assert await threads.call("work", 5.0, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await threads.call("fail", 5.0, lambda: 1 // 0)

    run(whole())
