"""A line of readiness that is written before anybody asks for it, and one of the run before."""

from __future__ import annotations

import asyncio
from functools import partial

from duende.adapters.contract import AdapterEvent, EventKind, SpawnRequest
from duende.config.model import DaemonConfig, ReadinessConfig, ReadinessKind
from duende.ids import DaemonId
from falsification.units.adapters.native.conftest import MakeAdapter
from falsification.units.loops import run, until


def speaker(script: str) -> DaemonConfig:
    """A shell script that is ready once it says so."""
    return DaemonConfig(
        name="speaker",
        binary_path="/bin/sh",
        args=("-c", script),
        readiness=ReadinessConfig(kind=ReadinessKind.LOG_LINE, pattern="^ready"),
    )


def note(lines: list[str], event: AdapterEvent) -> None:
    """Keep the lines that were found."""
    if event.kind is EventKind.LOG_LINE:
        lines.append(event.detail)


def test_a_line_that_came_before_anybody_asked(make_adapter: MakeAdapter) -> None:
    """It is told to who asks, however late; once, and another pattern is looked for from then on."""

    async def body() -> None:
        async with make_adapter() as adapter:
            lines: list[str] = []
            adapter.subscribe(partial(note, lines))
            handle = await adapter.spawn(None, speaker("echo ready at once; read x; echo later"))
            while not await adapter.logs(handle, 1):
                await asyncio.sleep(0.005)  # `run` has the deadline
            await adapter.logs(handle, 1)  # drained again: what the keeper found has arrived
            assert lines == []
            adapter.watch_log(handle, "^ready")
            await until(partial(len, lines))
            assert lines == ["ready at once"]
            adapter.watch_log(handle, "^ready")
            await adapter.logs(handle, 1)
            assert lines == ["ready at once"]
            await adapter.stop(handle, 5.0)

    run(body())


def test_a_line_of_the_run_before(make_adapter: MakeAdapter) -> None:
    """What an earlier run said makes the next one not ready."""

    async def body() -> None:
        async with make_adapter() as adapter:
            lines: list[str] = []
            adapter.subscribe(partial(note, lines))
            daemon_id = str(DaemonId.new())
            first = SpawnRequest(daemon_id=daemon_id, config=speaker("echo ready, the first"))
            await adapter.wait(await adapter.launch(first))
            second = SpawnRequest(daemon_id=daemon_id, config=speaker("echo not yet; exec sleep 600"))
            handle = await adapter.launch(second)
            while (await adapter.logs(handle, 1)) != ["not yet"]:
                await asyncio.sleep(0.005)
            adapter.watch_log(handle, "^ready")
            await adapter.logs(handle, 1)
            assert lines == []
            await adapter.stop(handle, 5.0)

    run(body())
