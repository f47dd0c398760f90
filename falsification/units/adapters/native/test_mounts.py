"""A daemon's own view of the files: what it may write, what it finds in /tmp, and that this machine sees nothing of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, Found
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import DaemonConfig, SecurityConfig
from duende.errors import SpawnError
from falsification.units.adapters.native.conftest import MakeAdapter
from falsification.units.loops import run, until
from falsification.units.support import Obedient

WRITE = """
import os, sys, time
for path in sys.argv[1:]:
    try:
        with open(path, "w") as file:
            file.write("x")
        print(f"wrote {path}", flush=True)
    except OSError as error:
        print(f"{error.strerror} {path}", flush=True)
print(" ".join(sorted(os.listdir("/tmp"))), flush=True)
time.sleep(600)
"""
ALLOWED = subprocess.run(
    [sys.executable, "-c", "from duende.kernel.mounts import own_view; own_view(read_only=False)"],
    check=False,
    capture_output=True,
    timeout=60,
)
pytestmark = pytest.mark.skipif(
    ALLOWED.returncode != 0, reason=f"no mount namespaces here: {ALLOWED.stderr.decode()[-200:]}"
)


def writer(*paths: Path | str, **security: Any) -> DaemonConfig:
    """A program that tries to write."""
    return DaemonConfig(
        name="writer",
        binary_path=sys.executable,
        args=("-c", WRITE, *map(str, paths)),
        security=SecurityConfig(**security),
    )


def test_a_read_only_root(make_adapter: MakeAdapter, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing can be written but below what is writable, and devices; explain reads it back from the process."""
    kept, shut = tmp_path_factory.mktemp("kept"), tmp_path_factory.mktemp("shut")
    config = writer(
        kept / "a", shut / "b", "/etc/c", "/dev/null", read_only_root=True, writable_paths=(str(kept),)
    )

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.spawn(None, config)
            lines = await until_lines(adapter, handle, 5)
            assert lines[:4] == [
                f"wrote {kept / 'a'}",
                f"Read-only file system {shut / 'b'}",
                "Read-only file system /etc/c",
                "wrote /dev/null",
            ]
            told = {each.key: each.outcome for each in await adapter.explain(handle, config)}
            assert told["security.read_only_root"] is told["security.writable_paths"] is Found.HONOURED
            await adapter.stop(handle, 5.0)

    run(body())
    assert (kept / "a").read_text() == "x"
    assert not (shut / "b").exists()


def test_a_private_tmp(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """It is empty but for what the daemon was given itself, and goes with the daemon."""
    config = DaemonConfig(
        name="writer",
        binary_path=sys.executable,
        args=("-c", WRITE, "/tmp/duende-of-the-daemon"),
        working_dir=str(tmp_path),
        security=SecurityConfig(private_tmp=True),
    )

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.spawn(None, config)
            lines = await until_lines(adapter, handle, 2)
            assert lines[0] == "wrote /tmp/duende-of-the-daemon"
            given = {
                Path(path).parts[2]
                for path in (str(tmp_path), adapter.runtime_dir)
                if path.startswith("/tmp/")
            }
            assert set(lines[1].split()) == {"duende-of-the-daemon", *given}
            told = {each.key: each.outcome for each in await adapter.explain(handle, config)}
            assert told["security.private_tmp"] is Found.HONOURED
            await adapter.stop(handle, 5.0)

    run(body())
    assert not Path("/tmp/duende-of-the-daemon").exists()


def test_a_class_in_a_view_of_its_own(make_adapter: MakeAdapter) -> None:
    """It becomes ready, preloaded or not: its socket is where it was told."""

    async def body() -> None:
        async with make_adapter() as adapter:
            for preload in (True, False):
                ready: list[EventKind] = []
                adapter.subscribe(partial(note, ready))
                config = DaemonConfig(
                    name=f"obedient-{preload}",
                    daemon="x:Y",
                    security=SecurityConfig(private_tmp=True, read_only_root=True),
                )
                handle = await adapter.spawn(Obedient, config)
                await until(partial(ready.count, EventKind.READY))
                assert (await adapter.stop(handle, 5.0)).proven

    run(body())


def test_a_path_that_is_not_there(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """It is named; with best_effort the daemon runs with the view of everybody."""
    config = writer(read_only_root=True, writable_paths=(str(tmp_path / "absent"),))

    async def body() -> None:
        async with make_adapter() as adapter:
            with pytest.raises(SpawnError, match=r"absent.*create it"):
                await adapter.spawn(None, config)
            handle = await adapter.spawn(None, msgspec.structs.replace(config, best_effort=True))
            await adapter.stop(handle, 5.0)

    run(body())


def note(kinds: list[EventKind], event: AdapterEvent) -> None:
    """Keep its kind."""
    kinds.append(event.kind)


async def until_lines(adapter: NativeAdapter, handle: DaemonHandle, count: int) -> list[str]:
    """Its output, once there are so many lines."""
    while len(lines := await adapter.logs(handle, 50)) < count:
        await asyncio.sleep(0.01)  # `run` has the deadline
    return lines
