"""The registry, the journal, the folders and the health checks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from duende.clock import SYSTEM_CLOCK
from duende.config.model import HealthCheckConfig, RestartConfig, RestartPolicy
from duende.errors import (
    AlreadyRunningError,
    ConfigError,
    DaemonIOError,
    DuendeError,
    NotFoundError,
    NotSupportedError,
    SerializationError,
    StateError,
)
from duende.manager import DaemonManager
from duende.manager.folders import Folders
from duende.manager.health import HealthWatch, Tally
from duende.manager.journal import Journal, decode
from duende.manager.paths import default_runtime_dir, default_state_dir
from duende.signals import Signal
from duende.states import Phase
from duende.supervision import SupervisorEvent
from duende.testing.fake_adapter import FakeAdapter, refused
from falsification.units.loops import run, until
from falsification.units.test_supervisor import BASE, replaced


def test_names_are_unique_and_known() -> None:
    """A taken name, an unknown name and a wrong configuration are each one clear error."""

    async def body() -> None:
        async with DaemonManager(adapter=FakeAdapter()) as manager:
            manager.register(BASE)
            with pytest.raises(ConfigError, match="taken"):
                manager.register(BASE)
            with pytest.raises(NotFoundError, match="did you mean d"):
                manager.status("dd")
            with pytest.raises(ConfigError):
                manager.register(replaced(name="-x"))
            await manager.start("d")
            with pytest.raises(StateError, match="cannot unregister"):
                await manager.unregister("d")
            await manager.stop("d")
            await manager.unregister("d")
            assert manager.list() == []
            with pytest.raises(NotSupportedError):
                manager.register(BASE)
                await manager.logs("d")

    run(body())


def test_many_start_together_and_each_error_is_its_own() -> None:
    """One broken daemon does not stop the others; the batch is one call to the adapter."""

    async def body() -> None:
        adapter = FakeAdapter()
        async with DaemonManager(adapter=adapter) as manager:
            names = [f"d-{number}" for number in range(20)]
            for name in names:
                manager.register(replaced(name=name, restart=RestartConfig(policy=RestartPolicy.NEVER)))
            adapter.knobs.start_errors = [refused("d-0"), refused("d-1")]
            results = await manager.start_many([*names, "nobody"])
            assert isinstance(results["nobody"], NotFoundError)
            assert {name for name, error in results.items() if error is not None} == {"d-0", "d-1", "nobody"}
            seen: list[SupervisorEvent] = []
            stop = manager.subscribe(seen.append)
            assert all(proof.proven for proof in await manager.shutdown_all())
            stop()
            assert adapter.alive == 0
            assert seen

    run(body())


def test_events_can_be_watched() -> None:
    """A watcher gets every event from the moment it asks."""

    async def body() -> None:
        async with DaemonManager(adapter=FakeAdapter()) as manager:
            manager.register(BASE)
            stream = manager.watch()
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await manager.start("d")
            assert (await first).kind == "starting"
            await stream.aclose()  # type: ignore[attr-defined]

    run(body())


def test_one_manager_for_each_folder(tmp_path: Path) -> None:
    """A second manager on the state folder is refused and told who has it; folders that cannot be used are named."""
    first = Folders(str(tmp_path / "s"), str(tmp_path / "r"))
    first.take()
    with pytest.raises(AlreadyRunningError, match="pid"):
        Folders(str(tmp_path / "s"), str(tmp_path / "r2")).take()
    first.write_pid(BASE, 77)
    assert Path(first.pid_path(BASE)).read_text() == "77\n"
    first.remove_pid(replaced(name="other"))
    first.give_back()
    assert not Path(first.pid_path(BASE)).exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DaemonIOError, match="cannot use the folder"):
        Folders(str(tmp_path / "file" / "x"), str(tmp_path)).take()
    with pytest.raises(DaemonIOError, match="PID file"):
        first.write_pid(replaced(pid_file=str(tmp_path / "no" / "x.pid")), 5)


def test_default_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders follow XDG where it is set, and FHS for root."""
    monkeypatch.setenv("XDG_STATE_HOME", "/xs")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/xr")
    assert (default_state_dir(), default_runtime_dir()) == ("/xs/duende", "/xr/duende")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert (default_state_dir(), default_runtime_dir()) == ("/var/lib/duende", "/run/duende")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_state_dir().endswith(".local/state/duende")
    assert default_runtime_dir().endswith("duende-1000")


def test_wishes_survive_a_manager(tmp_path: Path) -> None:
    """An operator's stop is respected by the next manager under unless-stopped, not under always; ids stay."""

    async def body() -> None:
        folders: dict[str, Any] = {"state_dir": str(tmp_path / "s"), "runtime_dir": str(tmp_path / "r")}
        configs = [
            replaced(name=policy.value, restart=RestartConfig(policy=policy))
            for policy in (RestartPolicy.ALWAYS, RestartPolicy.UNLESS_STOPPED)
        ]
        async with DaemonManager(adapter=FakeAdapter(), **folders) as first:
            for config in configs:
                first.register(config)
                await first.start(config.name)
                await first.stop(config.name)
            ids = [view.daemon_id for view in first.list()]
        async with DaemonManager(adapter=FakeAdapter(), **folders) as second:
            for config in configs:
                second.register(config)
            assert [view.daemon_id for view in second.list()] == ids
            assert await second.resume() == []
            assert [second.wanted_at_boot(config.name) for config in configs] == [True, False]

    run(body())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 50,
        b"{",
        b'{"format": 99, "daemons": {}}',
        b'{"format": 1, "daemons": {"a": 3}}',
        b"\xff\xfe",
    ],
)
def test_unreadable_journals_are_set_aside(tmp_path: Path, raw: bytes) -> None:
    """A torn, zeroed or foreign journal is renamed, never overwritten, and the manager starts without it."""
    path = tmp_path / "manager.json"
    for number in range(2):
        path.write_bytes(raw)
        journal = Journal(str(tmp_path), dict)
        journal.load()
        assert journal.entries == {}
        assert journal.set_aside == f"{path}.unreadable-{number}"
        assert Path(journal.set_aside).read_bytes() == raw
    with pytest.raises(SerializationError):
        decode(raw)


def test_health_needs_consecutive_results() -> None:
    """Only `retries` failures in a row make it unhealthy, only `successes` in a row make it healthy again."""
    tally = Tally(3, 2)
    changes = [
        tally.count(passed) for passed in (False, False, True, False, False, False, True, False, True, True)
    ]
    assert changes == [False, False, False, False, False, True, False, False, False, True]


@pytest.mark.parametrize("check", [{"exec": ("false",)}, {"port": 1}, {}])
def test_an_unhealthy_daemon_is_restarted(check: dict[str, object], tmp_path: Path) -> None:
    """A check that fails `retries` times restarts the daemon where its policy restarts failures."""

    async def body() -> None:
        adapter = FakeAdapter()
        async with DaemonManager(
            adapter=adapter, state_dir=str(tmp_path / "s"), runtime_dir=str(tmp_path / "r")
        ) as manager:
            health = msgspec.structs.replace(
                HealthCheckConfig(interval=0.01, timeout=1.0, retries=2), **check
            )
            config = (
                replaced(health_check=health)
                if check
                else replaced(health_check=health, daemon="m:C", binary_path=None)
            )
            manager.register(config)
            await manager.start("d")
            await until(lambda: len(adapter.starts) >= 2)
            assert any(event.kind == "health" for event in manager.events)

    run(body())


def test_healthy_checks_are_noted_and_programs_without_checks_cost_nothing() -> None:
    """A passing check shows in the view; a program without any has no timer."""

    async def body() -> None:
        async with DaemonManager(adapter=FakeAdapter()) as manager:
            manager.register(replaced(health_check=HealthCheckConfig(interval=0.01, exec=("true",))))
            manager.register(replaced(name="plain"))
            await manager.start("d")
            await manager.start("plain")
            await until(lambda: manager.status("d").health)
            assert list(manager._health._tasks) == ["d"]
            await manager.stop("d")
            assert manager.status("d").health is None

    run(body())
    HealthWatch("/r", lambda *_: None, SYSTEM_CLOCK).close()


def test_a_paused_daemon_is_not_ill() -> None:
    """Who is paused cannot answer: no check counts until it runs on, and then they count from the start."""

    async def body() -> None:
        adapter = FakeAdapter()
        async with DaemonManager(adapter=adapter) as manager:
            manager.register(
                replaced(health_check=HealthCheckConfig(interval=0.01, exec=("false",), retries=5))
            )
            await manager.start("d")
            await manager.signal("d", Signal.STOP)
            await asyncio.sleep(0.3)
            assert adapter.starts == ["d"]
            await manager.signal("d", Signal.CONT)
            await until(lambda: len(adapter.starts) == 2)

    run(body())


class ManagerMachine(RuleBasedStateMachine):
    """Whatever operators and crashes do in whatever order: one of seven states, at most one instance, stopped means gone."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.adapter = FakeAdapter()
        self.manager = DaemonManager(adapter=self.adapter)
        self.loop.run_until_complete(self.manager.open())
        self.stopped: set[str] = set()

    @rule(
        target=names, number=st.integers(0, 3), policy=st.sampled_from(RestartPolicy), limit=st.integers(0, 3)
    )
    def register(self, number: int, policy: RestartPolicy, limit: int) -> str:
        """Register a daemon, if the name is free."""
        name = f"d-{number}"
        if self.manager.find(name) is None:
            self.manager.register(
                replaced(
                    name=name, restart=RestartConfig(policy=policy, initial_delay=0.0, max_retries=limit)
                )
            )
        return name

    @rule(name=names, verb=st.sampled_from(("start", "stop", "restart")))
    def operate(self, name: str, verb: str) -> None:
        """Do what an operator does."""
        try:
            self.loop.run_until_complete(getattr(self.manager, verb)(name))
        except DuendeError:
            assert verb != "stop"
        (self.stopped.add if verb == "stop" else self.stopped.discard)(name)

    @rule(name=names, code=st.sampled_from((0, 1, -11)))
    def end(self, name: str, code: int) -> None:
        """The daemon ends by itself."""
        daemon_id = self.manager.status(name).daemon_id

        async def happen() -> None:
            instance = self.adapter.instances.get(daemon_id)
            if instance is not None and instance.exit is None:
                self.adapter.crash(daemon_id) if code < 0 else self.adapter.finish(daemon_id, code)

        self.loop.run_until_complete(happen())

    @rule(count=st.integers(1, 3))
    def refuse(self, count: int) -> None:
        """The platform refuses the next starts."""
        self.adapter.knobs.start_errors = [refused("d") for _ in range(count)]

    @rule()
    def turn(self) -> None:
        """Let the loop settle."""
        for _ in range(20):
            self.loop.run_until_complete(asyncio.sleep(0))

    @invariant()
    def laws(self) -> None:
        """What must hold at every moment."""
        assert all(count <= 1 for count in self.adapter.most_alive.values())
        for view in self.manager.list():
            assert view.status.phase in Phase
            instance = self.adapter.instances.get(view.daemon_id)
            living = instance is not None and instance.exit is None
            if view.status.phase is Phase.RUNNING:
                assert living
                assert view.pid > 0
            if view.name in self.stopped:
                assert not living
                assert view.status.phase in (Phase.STOPPED, Phase.CREATED)

    def teardown(self) -> None:
        """Close everything; nothing is left."""
        self.loop.run_until_complete(self.manager.close())
        assert self.adapter.alive == 0
        self.loop.close()


TestManagerMachine = ManagerMachine.TestCase
TestManagerMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
