"""When Starting becomes Running: by notification, by port, by a program, by a line of output, or by being alive for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from duende.adapters.contract import DaemonHandle, EventKind, PlatformAdapter
from duende.config.model import DaemonConfig, ReadinessKind, readiness_of

PROBE_TIMEOUT = 5.0
"""Seconds for one try of a port or program; the whole has `readiness.timeout`."""


class Readiness:
    """Waits for one start to become ready; calls back once, with `ready` or with `late` and the reason."""

    def __init__(
        self,
        config: DaemonConfig,
        adapter: PlatformAdapter,
        handle: DaemonHandle,
        ready: Callable[[], None],
        late: Callable[[str], None],
    ) -> None:
        self._config = config.readiness
        self._kind = readiness_of(config)
        self._adapter = adapter
        self._inside = getattr(adapter, "run_inside", None)
        """Where the platform keeps a place of its own for the daemon, its programs are there too."""
        self._handle = handle
        self._ready = ready
        self._late = late
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start waiting."""
        loop = asyncio.get_running_loop()
        if self._kind is ReadinessKind.NONE:
            if self._config.settle <= 0:
                self._ready()
            else:
                self._timer = loop.call_later(self._config.settle, self._done)
            return
        self._timer = loop.call_later(self._config.timeout, self._expired)
        if self._kind in (ReadinessKind.PORT, ReadinessKind.EXEC):
            self._task = asyncio.create_task(self._probe())
        elif self._kind is ReadinessKind.LOG_LINE:
            watch = getattr(self._adapter, "watch_log", None)
            if watch is not None:
                watch(self._handle, self._config.pattern or "")

    def heard(self, kind: EventKind) -> None:
        """The adapter reported READY or a matching line."""
        if (self._kind, kind) in (
            (ReadinessKind.NOTIFY, EventKind.READY),
            (ReadinessKind.LOG_LINE, EventKind.LOG_LINE),
        ):
            self._done()

    def cancel(self) -> None:
        """Stop waiting, call nobody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _done(self) -> None:
        self.cancel()
        self._ready()

    def _expired(self) -> None:
        self.cancel()
        self._late(f"not ready within {self._config.timeout:g} s ({self._kind.value})")

    async def _probe(self) -> None:
        while True:
            if self._kind is ReadinessKind.PORT:
                passed = await probe_port(self._config.port or 0, PROBE_TIMEOUT)
            elif self._inside is not None:
                passed = await self._inside(self._handle, self._config.exec, PROBE_TIMEOUT) == 0
            else:
                passed = await probe_exec(self._config.exec, PROBE_TIMEOUT)
            if passed:
                self._task = None
                self._done()
                return
            await asyncio.sleep(self._config.interval)


async def probe_port(port: int, timeout: float) -> bool:
    """Whether a TCP connection to *port* on loopback is accepted within *timeout* seconds."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
    except (OSError, TimeoutError):
        return False


async def probe_http(port: int, path: str, timeout: float) -> int:
    """The HTTP status that *port* on loopback answers to GET *path* within *timeout* seconds; 0 where there is none."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: duende\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                words = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return 0  # nobody there, too slow, or a line without an end
    known = len(words) >= 2 and words[0].startswith(b"HTTP/1.") and len(words[1]) == 3 and words[1].isdigit()
    return int(words[1]) if known else 0


def is_well(code: int) -> bool:
    """Whether an HTTP status says that all is well, as Kubernetes reads it: from 200 to 399."""
    return 200 <= code < 400


async def probe_exec(argv: tuple[str, ...], timeout: float) -> bool:
    """Whether the program exits 0 within *timeout* seconds; it is killed when it takes longer."""
    from duende.kernel.oneshot import run_once

    return await run_once(argv, timeout) == 0
