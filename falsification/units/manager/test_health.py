"""Health by HTTP, and a schedule that does not look at everybody at once."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config.check import validate
from duende.config.model import DaemonConfig, HealthCheckConfig
from duende.errors import ConfigError
from duende.ids import DaemonId
from duende.manager.health import first_wait
from duende.readiness import is_well, probe_http
from duende.render.kubernetes import _probes
from duende.states import DaemonStatus, Phase
from duende.testing.endpoint import health


def asked(answer: bytes | None, path: str = "/healthz", within: float = 2.0) -> tuple[int, bytes]:
    """(what `probe_http` says of a server that answers so, or not at all; the request's first line)."""
    seen = [b""]
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen[0] = await reader.readline()
        if answer is not None:
            writer.write(answer)
            writer.close()
        else:
            await reader.read()  # until the other side gives up
            writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass  # the other side had gone first
        ended.set()

    async def ask() -> int:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            code = await probe_http(server.sockets[0].getsockname()[1], path, within)
            await asyncio.wait_for(ended.wait(), 10)
            await asyncio.sleep(0)  # a transport closes its socket in a later turn of the loop
            return code

    return asyncio.run(ask()), seen[0]


@pytest.mark.parametrize(
    ("answer", "code", "well"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", 204, True),
        (b"HTTP/1.1 302 Found\r\n\r\n", 302, True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", 404, False),
        (b"HTTP/1.1 503\r\n\r\n", 503, False),
        (b"SSH-2.0-OpenSSH\r\n", 0, False),
        (b"HTTP/1.1 2000 OK\r\n", 0, False),
        (b"", 0, False),
        (b"x" * 200_000, 0, False),
    ],
)
def test_answers_of_http(answer: bytes, code: int, well: bool) -> None:
    """Are read by their status; nonsense is none."""
    assert asked(answer) == (code, b"GET /healthz HTTP/1.1\r\n")
    assert is_well(code) is well


def test_a_server_that_does_not_answer() -> None:
    """In time, or at all."""
    assert asked(None, within=0.1)[0] == 0
    assert asyncio.run(probe_http(1, "/", 1.0)) == 0


@pytest.mark.parametrize(
    ("path", "port"), [("healthz", 80), ("/a b", 80), ("/ü", 80), ("/a\r\nX: y", 80), ("/ok", None)]
)
def test_paths_that_are_none(path: str, port: int | None) -> None:
    """Are refused, and one without a port."""
    with pytest.raises(ConfigError, match=r"health_check\.http"):
        validate(
            DaemonConfig(
                name="x", binary_path="/bin/true", health_check=HealthCheckConfig(http=path, port=port)
            )
        )


def test_kubernetes_and_the_test_kit_ask_the_same() -> None:
    """By HTTP."""
    config = DaemonConfig(
        name="x", binary_path="/bin/true", health_check=HealthCheckConfig(http="/well", port=1)
    )
    validate(config)
    assert _probes(config)["livenessProbe"]["httpGet"] == {"path": "/well", "port": 1}
    found = asyncio.run(health(config, None, DaemonStatus(Phase.RUNNING)))
    assert not found.is_healthy
    assert "/well at port 1" in str(found)


@given(interval=st.floats(0.1, 3600))
def test_checks_are_spread(interval: float) -> None:
    """Of a thousand daemons that start together no twentieth of the interval has more than a tenth of the checks."""
    waits = [first_wait(str(DaemonId.new()), interval) for _ in range(1000)]
    assert all(0 < each <= interval for each in waits)
    buckets = [0] * 20
    for each in waits:
        buckets[min(19, int(each / interval * 20))] += 1
    assert max(buckets) < 100
