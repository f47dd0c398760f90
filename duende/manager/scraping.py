"""Metrics over TCP, for a Prometheus that cannot reach the control socket. Nothing else is served there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from duende.errors import ConfigError, DaemonIOError
from duende.host.http import LARGEST_REQUEST, OneAnswer, asked_of, headers_of, response
from duende.observe.exposition import Family, negotiated

Collect = Callable[[], list[Family]]


def answered(request: bytes, collect: Collect) -> bytes:
    """The whole HTTP answer to a request: the metrics to GET and HEAD of /metrics, an error to all else."""
    method, path = asked_of(request)
    if method not in (b"GET", b"HEAD"):
        return response(405, "text/plain", b"only GET\n")
    if path != b"/metrics":
        return response(404, "text/plain", b"known: /metrics\n")
    kind, text = negotiated(collect(), headers_of(request).get("accept", ""))
    return response(200, kind, text.encode())


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9464", "[::1]:9464" or ":9464", which is all addresses; port 0 is any that is free.

    Raises:
        ConfigError: it is no such thing.
    """
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not colon
        or not (port.isascii() and port.isdigit())
        or int(port) > 65535
        or (":" in bare and bare == host)
    ):
        raise ConfigError(
            f"cannot listen on {text!r}", remedy="write ADDRESS:PORT, as 127.0.0.1:9464 or [::1]:9464"
        )
    return bare, int(port)


class Scraping:
    """Serves metrics at one address."""

    def __init__(self, address: str, collect: Collect) -> None:
        """Nothing listens yet.

        Raises:
            ConfigError: *address* is none.
        """
        self.address = address
        """With the port that was got, once it is open."""
        self._host, self._port = parse_address(address)
        self._collect = collect
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Listen.

        Raises:
            DaemonIOError: the address is not of this machine, or is taken, or not allowed.
        """
        try:
            self._server = await asyncio.start_server(
                OneAnswer(self._answer).serve, self._host or None, self._port, limit=LARGEST_REQUEST
            )
        except OSError as error:
            raise DaemonIOError.of(
                "listen on", self.address, error, "choose another --metrics-listen"
            ) from error
        got = self._server.sockets[0].getsockname()
        self.address = f"[{got[0]}]:{got[1]}" if ":" in got[0] else f"{got[0]}:{got[1]}"

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, request: bytes, body: bytes | None) -> bytes:  # noqa: ARG002 - nothing is put here
        return answered(request, self._collect)
