"""Health, status and metrics over a unix socket, and clients that misbehave."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from duende import DaemonContext, DaemonIOError, HealthStatus
from duende.host import http
from duende.host.endpoint import Endpoint
from falsification.units.support import Obedient, config, run


class Patient(Obedient):
    """Is as well as its attribute says."""

    answer: HealthStatus | Exception | float = HealthStatus.healthy(4)

    async def health_check(self) -> HealthStatus:
        """Answer, raise or take too long."""
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, float):
            await asyncio.sleep(self.answer)
            return HealthStatus.healthy()
        return self.answer


async def ask(path: str, request: bytes) -> tuple[int, bytes]:
    """Code and body of one answer; code 0 when the connection was closed without one."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    raw = await reader.read()
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


def serve(tmp_path: Path, talk: Callable[[str, Patient], Awaitable[None]]) -> None:
    """Run *talk* against a live endpoint, which removes its socket afterwards."""
    path = str(tmp_path / "s")
    settings = config(health_check=config().health_check.__class__(timeout=0.05))

    async def live() -> None:
        daemon = Patient()
        found = Endpoint(path, daemon, DaemonContext(settings), lambda: settings)
        await found.open()
        try:
            await talk(path, daemon)
        finally:
            found.close()
            found.close()

    run(live())
    assert not Path(path).exists()


def test_the_three_pages(tmp_path: Path) -> None:
    """Each page has its code and its form; anything else is 404 or 405."""

    async def talk(path: str, daemon: Patient) -> None:
        code, body = await ask(path, b"GET /health HTTP/1.0\r\n\r\n")
        assert (code, json.loads(body)["score"]) == (200, 4)
        code, body = await ask(path, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert code == 200
        assert b'daemon_requests_total{daemon="web"} 0' in body
        code, body = await ask(path, b"GET /status HTTP/1.1\r\n\r\n")
        assert code == 200
        assert json.loads(body)["id"] == daemon.id
        assert (await ask(path, b"HEAD /status HTTP/1.1\r\n\r\n")) == (200, b"")
        assert (await ask(path, b"GET / HTTP/1.1\r\n\r\n"))[0] == 404
        assert (await ask(path, b"POST /health HTTP/1.1\r\n\r\n"))[0] == 405
        assert (await ask(path, b"\r\n\r\n"))[0] == 405

    serve(tmp_path, talk)


@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [
        (HealthStatus.unhealthy("down"), 503, b"down"),
        (HealthStatus.degraded("slow"), 200, b"slow"),
        (RuntimeError("boom"), 503, b"RuntimeError: boom"),
        (3600.0, 503, b"longer than 0.05 s"),
    ],
)
def test_bad_health(answer: HealthStatus | Exception | float, code: int, word: bytes, tmp_path: Path) -> None:
    """Unhealthy, raising and late all answer 503 and say why; degraded still works."""

    async def talk(path: str, daemon: Patient) -> None:
        daemon.answer = answer
        found, body = await ask(path, b"GET /health HTTP/1.1\r\n\r\n")
        assert found == code
        assert word in body
        assert json.loads(body)["latency_ms"] >= 0

    serve(tmp_path, talk)


def test_clients_that_misbehave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow, endless, vanishing and too many clients lose their connection; the next good one is answered."""
    monkeypatch.setattr(http, "REQUEST_TIMEOUT", 0.05)
    monkeypatch.setattr(http, "AT_ONCE", 3)

    async def talk(path: str, daemon: Patient) -> None:
        assert (await ask(path, b"GET /health"))[0] == 0
        with pytest.raises((ConnectionError, AssertionError)):
            assert (await ask(path, b"x" * 100_000))[0] == 200
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        found = await asyncio.gather(*(ask(path, b"GET /health") for _ in range(8)), return_exceptions=True)
        assert all(isinstance(one, ConnectionError) or one == (0, b"") for one in found)
        assert (await ask(path, b"GET /health HTTP/1.1\r\n\r\n"))[0] == 200

    serve(tmp_path, talk)


def open_and_close(path: Path) -> None:
    """Open an endpoint at *path* and close it."""

    async def live() -> None:
        found = Endpoint(str(path), Patient(), DaemonContext(config()), config)
        await found.open()
        found.close()

    run(live())


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket nobody listens on is taken over; one that is served is left alone."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    open_and_close(path)
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen(1)
        with pytest.raises(DaemonIOError, match="somebody does already") as caught:
            open_and_close(path)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.exists()


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    """A --socket that names an ordinary file by mistake is refused, and the file is still there."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(DaemonIOError, match="no socket"):
        open_and_close(path)
    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["x" * 200, "no/such/folder"])
def test_unusable_paths(name: str, tmp_path: Path) -> None:
    """Paths too long for a socket, and folders that are not there, are clear errors."""
    with pytest.raises(DaemonIOError, match="cannot listen on"):
        open_and_close(tmp_path / name)
