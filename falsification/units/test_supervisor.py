"""One daemon's supervision, on the fake adapter: every knob, every way to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from duende.adapters.contract import AdapterEvent, EventKind
from duende.config.model import (
    DaemonConfig,
    ReadinessConfig,
    ReadinessKind,
    RestartConfig,
    RestartPolicy,
)
from duende.errors import AlreadyRunningError, SignalError, SpawnError, StateError
from duende.manager import DaemonManager
from duende.signals import Signal
from duende.states import FailureKind, Phase
from duende.testing.fake_adapter import FakeAdapter, refused
from falsification.units.loops import run, until

AT_ONCE = ReadinessConfig(kind=ReadinessKind.NONE, settle=0.0)
QUICK = RestartConfig(policy=RestartPolicy.ON_FAILURE, initial_delay=0.0, max_retries=3)
BASE = DaemonConfig(name="d", binary_path="/fake", readiness=AT_ONCE, restart=QUICK, shutdown_timeout=1.0)
Body = Callable[[DaemonManager, FakeAdapter], Awaitable[None]]


def managed(body: Body, config: DaemonConfig = BASE, **knobs: Any) -> None:
    """Run *body* with a manager over a fake adapter that knows *config*."""

    async def work() -> None:
        adapter = FakeAdapter()
        for key, value in knobs.items():
            setattr(adapter.knobs, key, value)
        async with DaemonManager(adapter=adapter) as manager:
            manager.register(config)
            await body(manager, adapter)

    run(work())


def replaced(**fields: Any) -> DaemonConfig:
    """The base configuration with changes."""
    return msgspec.structs.replace(BASE, **fields)


def test_start_and_stop() -> None:
    """Created, Starting, Running, Stopping, Stopped, each told by an event; stopping again changes nothing."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        assert manager.status("d").status.phase is Phase.CREATED
        assert (await manager.start("d")).status.phase is Phase.RUNNING
        assert (await manager.stop("d")).proven
        assert (await manager.stop("d")).proven
        assert adapter.stops == ["d"]
        assert [event.kind for event in manager.events] == [
            "starting",
            "running",
            "stopping",
            "exited",
            "stopped",
        ]

    managed(body)


def test_second_start_is_refused() -> None:
    """Starting what runs, or is about to, is an error, and there is one instance."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        with pytest.raises(AlreadyRunningError):
            await manager.start("d")
        assert adapter.most_alive == {"d": 1}

    managed(body)


def test_crashes_are_restarted_until_the_limit() -> None:
    """A crash is followed by a restart; after max_retries the state says that it gave up, and the operator may start it anew."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        daemon_id = manager.status("d").daemon_id
        for number in range(1, 4):
            adapter.crash(daemon_id)

            def again(wanted: int = number + 1) -> bool:
                return len(adapter.starts) == wanted and manager.status("d").status.phase is Phase.RUNNING

            await until(again)
        adapter.crash(daemon_id)
        status = manager.status("d").status
        assert status.reason is not None
        assert status.reason.kind is FailureKind.GAVE_UP
        assert manager.events[-1].kind == "gave-up"
        assert (await manager.start("d")).restarts == 0

    managed(body)


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        (RestartPolicy.ON_FAILURE, 0, Phase.STOPPED),
        (RestartPolicy.ON_FAILURE, 1, Phase.RUNNING),
        (RestartPolicy.ALWAYS, 0, Phase.RUNNING),
        (RestartPolicy.UNLESS_STOPPED, 0, Phase.RUNNING),
        (RestartPolicy.NEVER, 1, Phase.FAILED),
    ],
)
def test_policies(policy: RestartPolicy, code: int, phase: Phase) -> None:
    """Each policy restarts what it says, and nothing else."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.finish(manager.status("d").daemon_id, code)
        await until(lambda: manager.status("d").status.phase is phase)
        assert len(adapter.starts) == 1 + (phase is Phase.RUNNING)

    managed(body, replaced(restart=RestartConfig(policy=policy, initial_delay=0.0)))


def test_a_start_error_is_raised_and_retried() -> None:
    """The first failure is the caller's; the policy goes on by the same rules as later failures."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        adapter.knobs.start_errors = [refused("d"), refused("d")]
        with pytest.raises(SpawnError):
            await manager.start("d")
        await until(lambda: manager.status("d").status.phase is Phase.RUNNING)
        assert manager.status("d").restarts == 2

    managed(body)


def test_stop_cancels_a_planned_restart() -> None:
    """What an operator stops while it waits for its restart is never revived."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.crash(manager.status("d").daemon_id)
        assert (manager.status("d").next_restart_in or 0) > 50
        proof = await manager.stop("d")
        assert proof.proven
        assert manager.status("d").status.phase is Phase.STOPPED
        assert manager.status("d").next_restart_in is None
        assert len(adapter.starts) == 1

    managed(body, replaced(restart=RestartConfig(initial_delay=60.0)))


def test_stop_interrupts_a_start() -> None:
    """A stop during a start waits for the process and ends it; the start fails for its caller."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        starting = asyncio.create_task(manager.start("d"))
        await until(lambda: manager.status("d").status.phase is Phase.STARTING)
        await asyncio.sleep(0)
        stopping = asyncio.create_task(manager.stop("d"))
        await asyncio.sleep(0)
        adapter.release_starts()
        assert (await stopping).proven
        with pytest.raises(StateError, match="before it was ready"):
            await starting
        assert adapter.alive == 0

    managed(body, replaced(readiness=ReadinessConfig(kind=ReadinessKind.NONE, settle=30.0)), hang_starts=True)


def test_a_late_daemon_is_stopped_and_failed() -> None:
    """Not ready in time: ended, Failed with the reason, then the policy decides."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        with pytest.raises(StateError, match="not ready within"):
            await manager.start("d")
        assert manager.status("d").status.phase is Phase.FAILED
        assert adapter.stops == ["d"]

    late = ReadinessConfig(kind=ReadinessKind.NOTIFY, timeout=0.02)
    managed(
        body, replaced(readiness=late, restart=RestartConfig(policy=RestartPolicy.NEVER)), ready_at_once=False
    )


def test_an_early_end_fails_the_start() -> None:
    """A daemon that ends before it is ready fails its start with the exit."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        starting = asyncio.create_task(manager.start("d"))
        await until(lambda: adapter.alive == 1)
        adapter.finish(manager.status("d").daemon_id, 3)
        with pytest.raises(StateError, match="exit code 3"):
            await starting

    managed(
        body,
        replaced(
            readiness=ReadinessConfig(kind=ReadinessKind.NONE, settle=30.0),
            restart=RestartConfig(policy=RestartPolicy.NEVER),
        ),
    )


def test_leftovers_are_ended_before_the_restart() -> None:
    """A new instance starts only when nothing of the old one is left."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.knobs.leftovers = True
        adapter.crash(manager.status("d").daemon_id)
        await until(lambda: len(adapter.starts) == 2)
        assert adapter.stops == ["d"]

    managed(body)


def test_an_unprovable_stop_is_not_called_success() -> None:
    """Without proof the state is Failed and says what blocks it."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        proof = await manager.stop("d")
        assert not proof.proven
        assert proof.blocked_by
        assert "stop blocked" in str(manager.status("d").status)
        adapter.knobs.unkillable = False

    managed(body, unkillable=True)


def test_signals_and_pause() -> None:
    """STOP and CONT pause and resume; a signal to nobody is an error; a KILL sent by us is no crash."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        with pytest.raises(SignalError):
            await manager.signal("d", Signal.TERM)
        await manager.start("d")
        await manager.signal("d", Signal.STOP)
        assert manager.status("d").status.phase is Phase.PAUSED
        await manager.signal("d", Signal.CONT)
        assert manager.status("d").status.phase is Phase.RUNNING
        await manager.signal("d", Signal.KILL)
        await until(lambda: manager.status("d").status.is_terminal)
        assert len(adapter.starts) == 1

    managed(body)


def test_restart_replaces_the_instance() -> None:
    """Restart stops, starts, and waits; also from Stopped."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        first = manager.status("d").pid
        assert (await manager.restart("d")).pid != first
        await manager.stop("d")
        assert (await manager.restart("d")).status.phase is Phase.RUNNING
        assert adapter.most_alive == {"d": 1}

    managed(body)


@pytest.mark.parametrize("kind", [EventKind.LOG_LOST, EventKind.ALERT, EventKind.STATUS])
def test_reports_of_the_platform_are_passed_on(kind: EventKind) -> None:
    """Lost output and alerts become events, a status text becomes the daemon's note; unknown daemons are ignored."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.report(AdapterEvent(daemon_id="unknown", kind=kind, detail="x"))
        adapter.report(AdapterEvent(daemon_id=manager.status("d").daemon_id, kind=kind, detail="hello"))
        if kind is EventKind.STATUS:
            assert manager.status("d").note == "hello"
        else:
            assert (manager.events[-1].kind, manager.events[-1].detail) == (kind.value, "hello")

    managed(body)


@pytest.mark.parametrize("kind", ["port", "exec", "log-line"])
def test_other_kinds_of_readiness(kind: str) -> None:
    """A port that accepts, a program that exits 0 and a line of output each make a daemon ready."""

    async def body() -> None:
        adapter = FakeAdapter()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready = ReadinessConfig(
            kind=ReadinessKind(kind), port=port, exec=("true",), pattern="x", timeout=10.0
        )
        async with DaemonManager(adapter=adapter) as manager:
            manager.register(replaced(readiness=ready))
            starting = asyncio.create_task(manager.start("d"))
            if kind == "log-line":
                await until(lambda: adapter.alive == 1)
                await asyncio.sleep(0)
                adapter.report(AdapterEvent(daemon_id=manager.status("d").daemon_id, kind=EventKind.LOG_LINE))
            assert (await starting).status.phase is Phase.RUNNING
        server.close()

    run(body())
