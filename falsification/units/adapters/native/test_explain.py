"""What the kernel made of a configuration, read back from real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from duende.adapters.contract import EventKind, Found, SpawnRequest
from duende.config.model import DaemonConfig, HealthCheckConfig, ResourceConfig, SecurityConfig
from duende.errors import InstanceNotFoundError, PlatformTimeoutError
from duende.ids import DaemonId
from falsification.units.adapters.native.conftest import MakeAdapter
from falsification.units.loops import run, until


def test_settings_are_read_back_from_the_kernel(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """Limits, niceness, umask and folder are what the process really has; what nobody enforces is said to be ignored."""
    config = DaemonConfig(
        name="explained",
        binary_path="/bin/sleep",
        args=("100",),
        working_dir=str(tmp_path),
        best_effort=True,
        resources=ResourceConfig(open_files_max=77, core_bytes=0, nice=5, pids_max=9, cpu_quota_percent=30),
        security=SecurityConfig(umask=0o027, no_new_privileges=True),
        health_check=HealthCheckConfig(watchdog=5.0),
    )

    async def body() -> None:
        async with make_adapter() as adapter:
            handle = await adapter.spawn(None, config)
            found = {each.key: each for each in await adapter.explain(handle, config)}
            honoured = {
                "resources.open_files_max": "77",
                "resources.core_bytes": "0",
                "resources.nice": "5",
                "security.umask": "0027",
                "security.no_new_privileges": "1",
                "working_dir": str(tmp_path),
            }
            for key, value in honoured.items():
                assert (found[key].found, found[key].outcome) == (value, Found.HONOURED), found[key]
            left = found["health_check.watchdog"]
            assert (left.found, left.outcome) == ("", Found.IGNORED)
            assert left.why
            for key in ("resources.pids_max", "resources.cpu_quota_percent", "resources.memory_bytes"):
                grouped = found[key].outcome is Found.HONOURED and found[key].why.startswith("cgroup")
                left_out = found[key].outcome in (Found.IGNORED, Found.APPROXIMATED) and found[key].why != ""
                assert grouped or left_out, found[key]  # as this host has control groups, or has none
            await adapter.stop(handle, 5.0)
            with pytest.raises(InstanceNotFoundError):
                await adapter.explain(handle, config)

    run(body())


def test_a_start_that_comes_too_late_is_ended(make_adapter: MakeAdapter) -> None:
    """Whoever was told that the start took too long never gets a daemon nobody knows of."""
    config = DaemonConfig(name="late", binary_path="/bin/sleep", args=("100",))
    request = SpawnRequest(daemon_id=str(DaemonId.new()), config=config)

    async def body() -> None:
        async with make_adapter() as adapter:
            await adapter.prepare()
            said: list[EventKind] = []
            adapter.subscribe(lambda event: said.append(event.kind))
            link = await adapter._ready_link()
            batch = adapter.begin_batch(link, [request])
            batch.late = True
            await asyncio.wait_for(batch.done, 10)
            assert isinstance(batch.results[request.daemon_id], PlatformTimeoutError)
            await until(lambda: not _children_running({"sleep"}, adapter.helper_pid))
            assert said == []

    run(body())


def _children_running(names: set[str], parent: int) -> list[int]:
    from duende.kernel.process import children_of, read_stat

    return [pid for pid in children_of(parent) if (stat := read_stat(pid)) is not None and stat.comm in names]
