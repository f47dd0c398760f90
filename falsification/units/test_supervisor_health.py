"""What one daemon's supervision makes of ill health that the platform reports, on the fake adapter."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from duende.adapters.contract import AdapterEvent, EventKind
from duende.config.model import HealthCheckConfig, ReadinessConfig, ReadinessKind
from duende.manager import DaemonManager
from duende.states import FailureKind, Phase
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.loops import until
from falsification.units.test_supervisor import managed, replaced

ILL = AdapterEvent(daemon_id="", kind=EventKind.UNHEALTHY, detail="it coughs")


def _ill(manager: DaemonManager) -> AdapterEvent:
    return msgspec.structs.replace(ILL, daemon_id=manager.status("d").daemon_id)


def test_an_unhealthy_daemon_is_restarted_once_and_starts_afresh() -> None:
    """A verdict is about one instance: it is acted on once, repeated or late ones change nothing, and the next instance has none."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.report(_ill(manager))
        adapter.report(_ill(manager))
        assert manager.status("d").status.phase is Phase.STOPPING
        await until(lambda: manager.status("d").status.phase is Phase.RUNNING)
        assert manager.status("d").health is None
        await asyncio.sleep(0.01)
        assert adapter.starts == ["d"] * 2
        assert manager.status("d").restarts == 1
        assert [event.kind for event in manager.events].count("restarting") == 1

    managed(body)


def test_ill_health_counts_like_a_crash() -> None:
    """A daemon that is unhealthy again and again reaches the limit of its policy and is given up."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        for restarts in range(1, 5):
            adapter.report(_ill(manager))
            if restarts < 4:
                await until(lambda: manager.status("d").status.phase is Phase.RUNNING)
                assert manager.status("d").restarts == restarts
        await until(lambda: manager.status("d").status.is_terminal)
        reason = manager.status("d").status.reason
        assert reason is not None
        assert reason.kind is FailureKind.GAVE_UP
        assert manager.status("d").health is None

    managed(body)


def test_a_stop_is_not_undone_by_ill_health() -> None:
    """An operator who stops it while it is being replaced has it stopped."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.report(_ill(manager))
        assert (await manager.stop("d")).proven
        await asyncio.sleep(0.01)
        assert manager.status("d").status.phase is Phase.STOPPED
        assert adapter.starts == ["d"]
        adapter.report(_ill(manager))
        assert manager.status("d").health is None

    managed(body)


def test_no_second_instance_beside_one_that_cannot_be_ended() -> None:
    """An unhealthy daemon whose end cannot be proven is not started again."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.knobs.unkillable = True
        adapter.report(_ill(manager))
        await until(lambda: manager.status("d").status.phase is Phase.FAILED)
        await asyncio.sleep(0.01)
        assert adapter.starts == ["d"]
        assert "stop blocked" in str(manager.status("d").status)

    managed(body)


@pytest.mark.parametrize("way", ["crash", "platform"])
def test_health_starts_afresh_however_it_was_restarted(way: str) -> None:
    """After a crash, and after a restart by the platform, the verdict of the instance before is gone."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        await manager.start("d")
        adapter.report(_ill(manager))
        assert manager.status("d").health is not None
        daemon_id = manager.status("d").daemon_id
        if way == "crash":
            adapter.crash(daemon_id)
        else:
            adapter.report(AdapterEvent(daemon_id=daemon_id, kind=EventKind.RESTARTED, pid=77))
        await until(lambda: manager.status("d").status.phase is Phase.RUNNING)
        assert manager.status("d").health is None

    managed(body, replaced(health_check=HealthCheckConfig(restart=False)))


def test_a_daemon_found_ill_before_it_was_ready_is_restarted() -> None:
    """The platform's verdict that came while it was starting is acted on once it runs."""

    async def body(manager: DaemonManager, adapter: FakeAdapter) -> None:
        adapter.knobs.ready_at_once = False
        manager.begin_many(["d"])
        await until(lambda: adapter.starts)
        adapter.report(_ill(manager))
        assert adapter.starts == ["d"]
        adapter.knobs.ready_at_once = True
        daemon_id = manager.status("d").daemon_id
        await until(lambda: manager.status("d").health)
        adapter.report(AdapterEvent(daemon_id=daemon_id, kind=EventKind.READY))
        await until(lambda: len(adapter.starts) == 2)

    managed(body, replaced(readiness=ReadinessConfig(kind=ReadinessKind.NOTIFY, timeout=10.0)))
