"""The control socket at its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from duende.manager.control import Control
from duende.manager.manager import DaemonManager
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.support import run


def test_a_client_that_comes_as_it_ends_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few turns of the loop lie between a client's coming and the end, no socket is left to the collector."""
    lost: list[Any] = []

    async def nothing() -> None:
        """No shutdown."""

    async def body() -> None:
        manager = DaemonManager(adapter=FakeAdapter(), state_dir=str(tmp_path), runtime_dir=str(tmp_path))
        for turns in (0, 1, 2, 3) * 10:
            control = Control(manager, nothing)
            await control.open()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "control.sock"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await control.close()
                with contextlib.suppress(ConnectionResetError):  # nobody had accepted it yet
                    assert client.recv(1) == b""

    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    run(body())
    gc.collect()
    assert [each.exc_value for each in lost] == []
