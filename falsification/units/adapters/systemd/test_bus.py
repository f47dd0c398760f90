"""The connection against a bus that the test serves itself: silent, hanging up, garbage, errors, and coming back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from duende.adapters.contract import DaemonHandle, Ownership, Platform, ProbeState
from duende.adapters.systemd.adapter import SystemdAdapter
from duende.adapters.systemd.bus import Bus, Refusal
from duende.errors import AccessError, PlatformIOError, PlatformTimeoutError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE = 5.0


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass
    writer.close()


async def _hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"220 mail.example ESMTP\r\n")
    await _silent(reader, writer)


async def _garbage_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n")
    writer.write(b"OK 0123\r\n")
    await reader.readuntil(b"\r\n")
    writer.write(b"AGREE_UNIX_FD\r\n")
    await reader.readuntil(b"\r\n")
    writer.write(b"x" * 64)
    await _silent(reader, writer)


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (_silent, PlatformTimeoutError),
        (_hangs_up, PlatformIOError),
        (_garbage, PlatformIOError),
        (_garbage_later, PlatformIOError),
    ],
)
def test_a_broken_bus_is_one_clear_error_in_time(
    tmp_path: Path, serve: Serve, error: type[Exception]
) -> None:
    """A bus that says nothing, hangs up or talks nonsense gives one error within the deadline, and the probe says unhealthy."""

    async def try_it() -> None:
        server = await asyncio.start_unix_server(serve, tmp_path / "bus")
        adapter = SystemdAdapter(
            bus_address=f"unix:path={tmp_path}/bus", timeout=0.3, runtime_dir=str(tmp_path)
        )
        began = time.monotonic()
        with pytest.raises(error):
            await adapter.facts()
        assert time.monotonic() - began < PATIENCE
        assert (await adapter.probe()).state is ProbeState.UNHEALTHY
        await adapter.close()
        server.close()

    asyncio.run(try_it())


def test_no_socket(tmp_path: Path) -> None:
    """Without a socket the platform is absent, and a verb says what would help."""

    async def try_it() -> None:
        adapter = SystemdAdapter(bus_address=f"unix:path={tmp_path}/none", runtime_dir=str(tmp_path))
        probe = await adapter.probe()
        assert probe.state is ProbeState.ABSENT
        assert probe.remedy
        with pytest.raises(PlatformIOError) as caught:
            await adapter.facts()
        assert caught.value.remedy
        await adapter.close()

    asyncio.run(try_it())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("org.freedesktop.DBus.Error.AccessDenied", AccessError),
        ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", AccessError),
        ("org.freedesktop.DBus.Error.ServiceUnknown", PlatformIOError),
        ("org.freedesktop.DBus.Error.NoReply", PlatformTimeoutError),
        ("com.example.Odd", PlatformIOError),
    ],
)
def test_refusals_become_errors(name: str, error: type[Exception]) -> None:
    """Each kind of answer has its error."""
    assert type(Bus("unix:path=/x", user=False, timeout=1.0).error_of(Refusal(name, "no"))) is error


def test_a_handle_without_an_invocation_is_unverifiable(tmp_path: Path) -> None:
    """A handle that does not say which start it is for is never taken for ours, and no bus is asked."""

    async def try_it() -> None:
        adapter = SystemdAdapter(bus_address=f"unix:path={tmp_path}/none", runtime_dir=str(tmp_path))
        handle = DaemonHandle(
            daemon_id="a", name="web", platform=Platform.LINUX, instance="duende-web-a.service"
        )
        assert await adapter.verify(handle) is Ownership.UNVERIFIABLE
        assert await adapter.adopt(handle) is Ownership.UNVERIFIABLE
        await adapter.close()

    asyncio.run(try_it())
