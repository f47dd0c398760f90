"""A tiny TCP service as a daemon of its own process: echoes lines, for chaos and load to act on."""

from __future__ import annotations

import asyncio

from duende import Daemon, DaemonConfig, DaemonContext, ExitReason


class Echo(Daemon):
    """Echoes lines at `settings.port`, 0 for any."""

    name = "echo"

    async def init(self, config: DaemonConfig) -> None:
        """Listen and say where."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", config.settings.get("port", 0))
        print("port", self._server.sockets[0].getsockname()[1], flush=True)

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Serve until shutdown."""
        await ctx.wait_shutdown()
        self._server.close()
        return ExitReason.graceful()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                with self.metrics.time():
                    writer.write(line)
                    await writer.drain()
        except ConnectionError:
            pass  # a client that is gone
        finally:
            writer.close()


async def ask(port: int, text: bytes = b"hello\n") -> None:
    """One request on a connection of its own; raises when the answer is not the question."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        answer = await reader.readline()
    finally:
        writer.close()
    if answer != text:
        raise ConnectionError(f"sent {text!r}, got {answer!r}")
