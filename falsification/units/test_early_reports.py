"""What a daemon does before the answer of its start is not lost: the reports of an adapter may overtake it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind, SpawnRequest
from duende.config.model import DaemonConfig, ReadinessConfig, ReadinessKind, RestartConfig, RestartPolicy
from duende.manager import DaemonManager
from duende.states import ProcessExit
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.loops import run

RESTARTS = 5
ALWAYS = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.0, max_retries=RESTARTS)
NOTIFY = ReadinessConfig(kind=ReadinessKind.NOTIFY, timeout=5.0)
BASE = DaemonConfig(name="d", binary_path="/fake", restart=ALWAYS, readiness=NOTIFY, shutdown_timeout=1.0)


class Hasty(FakeAdapter):
    """Its daemons do something in the same turn of the loop as the answer of their start, and before it."""

    def __init__(self, kind: EventKind) -> None:
        super().__init__()
        self.kind = kind

    async def launch_many(self, requests: Sequence[SpawnRequest]) -> list[DaemonHandle | Exception]:
        """Start, let them act, answer."""
        answers = await super().launch_many(requests)
        for request in requests:
            if self.kind is EventKind.EXITED:
                self.end(request.daemon_id, ProcessExit(code=1))
            else:
                self.report(AdapterEvent(daemon_id=request.daemon_id, kind=self.kind))
        return answers


def managed(kind: EventKind, **fields: Any) -> list[str]:
    """Start one hasty daemon; the kinds of all events once it is Running or given up."""

    async def work() -> list[str]:
        async with DaemonManager(adapter=Hasty(kind)) as manager:
            manager.register(msgspec.structs.replace(BASE, **fields))
            manager.begin_many(["d"])
            async with asyncio.timeout(5):
                while not any(event.kind in ("running", "gave-up") for event in manager.events):
                    await asyncio.sleep(0.001)
            return [event.kind for event in manager.events]

    found: list[list[str]] = []

    async def body() -> None:
        found.append(await work())

    run(body())
    return found[0]


def test_an_exit_before_the_answer_is_judged() -> None:
    """A daemon that ends at once is restarted until the limit, not forgotten."""
    kinds = managed(EventKind.EXITED)
    assert kinds.count("starting") == RESTARTS + 1
    assert kinds[-1] == "gave-up"


def test_ready_before_the_answer_counts() -> None:
    """A daemon that is ready at once is Running, not late."""
    assert managed(EventKind.READY) == ["starting", "running"]


def test_a_log_line_before_the_answer_counts() -> None:
    """The line that shows readiness may come first, too."""
    ready = ReadinessConfig(kind=ReadinessKind.LOG_LINE, pattern="ready", timeout=5.0)
    assert managed(EventKind.LOG_LINE, readiness=ready) == ["starting", "running"]
