"""Several adapters under one manager, and what the platform did by itself."""

from __future__ import annotations

from typing import Any

import pytest

from duende.adapters import choose
from duende.adapters.contract import AdapterEvent, EventKind, Found, PlatformAdapter
from duende.config.check import ADAPTERS
from duende.config.model import DaemonConfig, PlatformSection, RestartConfig, RestartPolicy
from duende.errors import InstanceNotFoundError, NotSupportedError
from duende.manager import DaemonManager
from duende.states import Phase
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.loops import run


def config(name: str, adapter: str | None = None, **fields: Any) -> DaemonConfig:
    """A daemon that asks for *adapter*."""
    return DaemonConfig(
        name=name, binary_path="/bin/true", platform=PlatformSection(adapter=adapter), **fields
    )


def test_names_are_the_same_everywhere() -> None:
    """What a configuration may say is what can be made."""
    assert tuple(choose.NAMED) == ADAPTERS or set(choose.NAMED) == set(ADAPTERS)
    with pytest.raises(NotSupportedError, match="nomad"):
        choose.adapter_named("nomad")


def test_each_daemon_runs_where_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager's own adapter runs those that ask for none; another is made once, shared, and closed with the manager."""
    own, other = FakeAdapter(), FakeAdapter()
    made: list[str] = []
    closed: list[PlatformAdapter] = []

    def named(name: str, **options: Any) -> PlatformAdapter:
        made.append(name)
        assert set(options) == {"runtime_dir", "state_dir", "keep"}
        return other

    async def close(self: FakeAdapter) -> None:
        closed.append(self)

    monkeypatch.setattr(choose, "adapter_named", named)
    monkeypatch.setattr(FakeAdapter, "close", close)

    async def body() -> None:
        async with DaemonManager(adapter=own) as manager:
            for each in (config("a"), config("b", "docker"), config("c", "docker"), config("d", "native")):
                manager.register(each)
            results = await manager.start_many(["a", "b", "c", "d"])
            assert not any(results.values())
            assert (own.starts, other.starts) == (["a", "d"], ["b", "c"])
            supervisor = manager.find("b")
            assert supervisor is not None
            other.crash(supervisor.daemon_id)
            assert manager.status("b").last_exit is not None

    run(body())
    assert made == ["docker"]
    assert {id(each) for each in closed} == {id(own), id(other)}
    assert len(closed) == 2


def test_settings_are_explained_while_it_runs() -> None:
    """The manager passes the question on; what does not run cannot be explained."""

    async def body() -> None:
        async with DaemonManager(adapter=FakeAdapter()) as manager:
            manager.register(config("a"))
            with pytest.raises(InstanceNotFoundError, match="start it first"):
                await manager.explain("a")
            await manager.start("a")
            (entry,) = await manager.explain("a")
            assert (entry.key, entry.outcome) == ("resources.memory_bytes", Found.HONOURED)
            await manager.stop("a")
            with pytest.raises(InstanceNotFoundError):
                await manager.explain("a")

    run(body())


def test_a_restart_by_the_platform_is_counted_and_not_repeated() -> None:
    """With `restart.delegate` the platform restarts; the manager counts, and an end is the last one."""

    async def body() -> None:
        adapter = FakeAdapter()
        async with DaemonManager(adapter=adapter) as manager:
            policy = RestartConfig(policy=RestartPolicy.ALWAYS, initial_delay=0.0, delegate=True)
            manager.register(config("a", restart=policy))
            await manager.start("a")
            supervisor = manager.find("a")
            assert supervisor is not None
            adapter.report(
                AdapterEvent(daemon_id=supervisor.daemon_id, kind=EventKind.RESTARTED, pid=0, detail="again")
            )
            assert manager.status("a").restarts == 1
            assert [each.kind for each in manager.events][-1] == "restarted"
            adapter.crash(supervisor.daemon_id)
            assert manager.status("a").status.phase is Phase.FAILED
            assert adapter.starts == ["a"]

    run(body())
