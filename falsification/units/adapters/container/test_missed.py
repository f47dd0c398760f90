"""A runtime that has missed an end: the kernel's word is taken, the end is proven, and the next start does not wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from duende.adapters.container import exchange, looking, sweeping
from duende.adapters.container.adapter import ContainerAdapter
from duende.adapters.container.engine import Runtime, State
from duende.adapters.container.records import Record
from duende.adapters.container.stopping import prove
from duende.adapters.container.watching import Watch
from duende.adapters.contract import AdapterEvent, EventKind
from duende.config.model import HealthCheckConfig
from duende.kernel.process import read_stat
from duende.states import ProcessExit
from falsification.units.adapters.container.fake_runtime import FakeRuntime
from falsification.units.adapters.container.support import ID, request, until, with_fake
from falsification.units.support import run

PID = 4242


class DeadWatch:
    """What is known of a process 1 that was killed, with nothing left in its group."""

    ended = True
    out_of_memory = False

    def __init__(self, first: int, *, empty: bool = True, known: bool = True) -> None:
        self.first = first
        self._empty = empty
        self._known = known

    def over(self) -> bool:
        """Whether nothing is left."""
        return self._empty

    def exit(self) -> ProcessExit:
        """How it ended, where the kernel tells."""
        return ProcessExit(signal=9) if self._known else ProcessExit()

    def begin(self, on_end: object) -> None:
        """Nothing more will happen."""

    def owns(self, pid: int) -> bool:
        """Nobody is left."""
        return False

    def close(self) -> None:
        """Nothing is held."""


def record_with(watch: DeadWatch) -> Record:
    """A record of it."""
    return Record(cast("Any", None), cast("Any", None), cast("Any", watch), delegated=False, init=False)


def claim(**fields: Any) -> State:
    """What the runtime says."""
    return State(**{"id": "c", "status": "running", "running": True, "pid": PID, **fields})


def test_only_the_very_process_that_is_dead_was_missed() -> None:
    """Another process, one that is left, a restart under way or an end that is told are no missed end."""
    assert record_with(DeadWatch(PID)).missed(claim())
    assert not record_with(DeadWatch(PID)).missed(claim(pid=PID + 1))
    assert not record_with(DeadWatch(PID, empty=False)).missed(claim())
    assert not record_with(DeadWatch(PID)).missed(claim(restarting=True))
    assert not record_with(DeadWatch(PID)).missed(claim(running=False, status="exited", pid=0))
    assert not record_with(cast("Any", None)).missed(claim())


def test_a_process_that_lives_is_not_over() -> None:
    """This very process is there; whoever has its number with another birth is somebody else."""

    class Empty:
        def processes(self) -> list[int]:
            return []

    mine = read_stat(1)
    assert mine is not None
    living = Watch(mine.pid, mine.start_time, mine.pid, cast("Any", Empty()), (-1, -1))
    assert not living.over()
    recycled = Watch(mine.pid, mine.start_time + 1, mine.pid, cast("Any", Empty()), (-1, -1))
    assert recycled.over()


def test_a_missed_end_is_proven_by_the_kernel() -> None:
    """The certificate says that nothing is left, and what the runtime says instead."""

    class Engine:
        runtime = Runtime.DOCKER

        async def inspect(self, container: str) -> State:
            return claim()

    class Handle:
        instance = "0123456789abcdef"
        name = "web"

    async def proof(watch: DeadWatch) -> tuple[bool, str, tuple[str, ...]]:
        record = record_with(watch)
        record.engine, record.handle = cast("Any", Engine()), cast("Any", Handle())
        cast("Any", watch).first_started = 0

        class Empty:
            def processes(self) -> list[int]:
                return []

        cast("Any", watch).group = Empty()
        return await prove(record)

    proven, how, _ = run(proof(DeadWatch(PID)))
    assert proven
    assert how.endswith("its control group is empty; docker has missed that and says that it runs")
    for doubtful in (DeadWatch(2**22 + 1), DeadWatch(PID, empty=False)):
        proven, how, blocked = run(proof(doubtful))
        assert (proven, how, blocked) == (False, "container 0123456789ab is running", ("4242 web (running)",))


def test_the_next_start_does_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit is told by the kernel's word; its container loses its name to the next, and is removed beside that."""
    monkeypatch.setattr(exchange, "SETTLE_MISSED", 0.02)
    monkeypatch.setattr(sweeping, "SWEEP_EVERY", 0.01)

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        first = fake.containers[handle.instance]
        record = adapter._records[ID]
        record.watch = cast("Any", DeadWatch(first["State"]["Pid"]))
        adapter._settle(record)
        await until(lambda: [each for each in events if each.kind is EventKind.EXITED])
        (told,) = [each for each in events if each.kind is EventKind.EXITED]
        assert told.exit is not None
        assert told.exit.signal == 9
        second = await adapter.launch(request())
        assert second.instance != handle.instance
        assert first["Name"] == f"/duende-web-0b7a3c52-{handle.instance[:12]}"
        await until(lambda: fake.removed == [handle.instance])
        assert fake.containers[second.instance]["Name"] == "/duende-web-0b7a3c52"

    with_fake(tmp_path, body)


def test_an_exit_that_nobody_knows_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not tell how it ended, the runtime gets all its time to."""
    monkeypatch.setattr(exchange, "SETTLE_MISSED", 0.0)

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        record = adapter._records[ID]
        record.watch = cast("Any", DeadWatch(fake.containers[handle.instance]["State"]["Pid"], known=False))
        adapter._settle(record)
        await until(lambda: record.settling is not None)
        await until(lambda: not record.nudge.is_set())
        assert not events
        fake.die(handle.instance, 3)
        await until(lambda: events)
        assert [(each.kind, str(each.exit)) for each in events] == [(EventKind.EXITED, "exit code 3")]

    with_fake(tmp_path, body)


def test_an_end_that_nobody_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process is held here and the runtime tells of no end, it is found all the same."""
    monkeypatch.setattr(looking, "UNWATCHED_EVERY", 0.01)

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        fake.die(handle.instance, 3, quietly=True)
        assert (await adapter.wait(handle)).code == 3
        assert [event.kind for event in events] == [EventKind.EXITED]

    with_fake(tmp_path, body)


def test_a_line_of_output_after_the_runtime_was_away(tmp_path: Path) -> None:
    """A line that is waited for is seen although the runtime went away before it came; the trouble is told once."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        fake.output = [b"starting\n"]
        adapter.watch_log(handle, "^ready")
        await until(lambda: any("follow=1" in line for line in fake.requests))
        await fake.stop()
        Path(fake.path).unlink()
        fake.output.append(b"ready\n")
        await fake.start()
        await until(lambda: EventKind.LOG_LINE in [event.kind for event in events])
        told = [event.detail for event in events if "follow its output" in event.detail]
        assert len(told) == 1

    with_fake(tmp_path, body)


@pytest.mark.parametrize("recovers", [True, False])
def test_a_verdict_about_a_pause_that_comes_after_it(tmp_path: Path, recovers: bool) -> None:
    """It is looked at again once the check had time to pass: only one that still stands is told."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        check = HealthCheckConfig(exec=("/bin/true",), interval=0.1, timeout=0.4, retries=2)
        handle = await adapter.launch(request(health_check=check))
        await adapter.pause(handle)
        await adapter.resume(handle)
        container = fake.containers[handle.instance]
        container["State"]["Health"] = {"Status": "unhealthy"}
        fake.tell(handle.instance, "health_status: unhealthy")
        record = adapter._records[ID]
        await until(lambda: record.ill)
        assert not events
        if recovers:
            container["State"]["Health"] = {"Status": "healthy"}
            fake.tell(handle.instance, "health_status: healthy")
        await until(lambda: events)
        kinds = [event.kind for event in events]
        assert kinds == [EventKind.HEALTHY if recovers else EventKind.UNHEALTHY]

    with_fake(tmp_path, body)
