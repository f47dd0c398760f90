"""The smallest HTTP that curl and Prometheus speak: one request, one answer, and the connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

REQUEST_TIMEOUT = 5.0
"""Seconds a client may take to send its request."""
LARGEST_REQUEST = 8192
LARGEST_BODY = 65536
"""Bytes of what a PUT brings."""
AT_ONCE = 32
"""Connections served side by side; more are closed at once."""
Answer = Callable[[bytes, bytes | None], Awaitable[bytes]]
"""Gets head and body of a request, None for a body that has no length or is too long; gives a whole answer."""
REASONS = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    422: "Unprocessable Content",
    503: "Service Unavailable",
}


class OneAnswer:
    """Gives one answer to each client; `serve` is for asyncio's servers of streams with a limit of `LARGEST_REQUEST`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self._open += 1
        try:
            if self._open > AT_ONCE:
                return
            async with asyncio.timeout(REQUEST_TIMEOUT):
                raw = await reader.readuntil(b"\r\n\r\n")
                body = await _body(raw, reader)
            answer = await self._answer(raw, body)
            writer.write(
                answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if raw.startswith(b"HEAD ") else answer
            )
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a client that is slow, gone or talks nonsense gets its connection closed, nothing else
        finally:
            self._open -= 1
            writer.close()


async def _body(raw: bytes, reader: asyncio.StreamReader) -> bytes | None:
    """What comes after the head of a PUT: None where its length is not told, or is too much."""
    if not raw.startswith(b"PUT "):
        return b""
    told = headers_of(raw).get("content-length", "")
    if not (told.isascii() and told.isdigit()) or int(told) > LARGEST_BODY:
        return None
    return await reader.readexactly(int(told))


def asked_of(raw: bytes) -> tuple[bytes, bytes]:
    """Method and path of a request, without a query; empty where it has none."""
    words = raw.split(b"\r\n", 1)[0].split()
    return (words[0] if words else b""), (words[1].split(b"?")[0] if len(words) > 1 else b"")


def headers_of(raw: bytes) -> dict[str, str]:
    """Name in lower case -> value. Of a header that is there twice the first counts; tracestate may be, and is joined (W3C 3.3.1.4)."""
    found: dict[str, str] = {}
    for line in raw.split(b"\r\n")[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        key, text = name.strip().lower(), value.strip()
        found[key] = f"{found[key]},{text}" if key == "tracestate" and key in found else found.get(key, text)
    return found


def response(code: int, kind: str, body: bytes) -> bytes:
    """A whole HTTP answer, after which the connection ends."""
    head = f"HTTP/1.1 {code} {REASONS[code]}\r\nContent-Type: {kind}\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
