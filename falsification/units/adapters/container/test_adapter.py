"""The verbs of the container adapter against a fake runtime: what is reported, what is refused, what is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from duende.adapters.container.adapter import ContainerAdapter
from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    Ownership,
)
from duende.config.model import (
    HealthCheckConfig,
    PlatformSection,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
)
from duende.errors import (
    IdentityError,
    InstanceNotFoundError,
    PlatformConfigError,
)
from duende.manager.manager import DaemonManager
from duende.signals import Signal
from duende.states import Phase
from falsification.units.adapters.container.fake_runtime import FakeRuntime
from falsification.units.adapters.container.support import TIMEOUT, request, until, with_fake
from falsification.units.support import config, run


def test_a_daemon_from_start_to_end(tmp_path: Path) -> None:
    """Its end is reported once, with the code that the runtime gives, and status says the same."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        assert handle.instance in fake.containers
        assert DaemonHandle.from_json(handle.to_json()) == handle
        assert (await adapter.status(handle)).phase is Phase.RUNNING
        assert await adapter.verify(handle) is Ownership.OURS
        fake.die(handle.instance, 7)
        assert (await adapter.wait(handle)).code == 7
        fake.tell(handle.instance, "die", exitCode="7")
        assert str(await adapter.status(handle)) == "Failed (exit code 7)"
        await asyncio.sleep(0.02)
        assert [event.kind for event in events] == [EventKind.EXITED]
        with pytest.raises(InstanceNotFoundError, match="has ended"):
            await adapter.signal(handle, Signal.TERM)

    with_fake(tmp_path, body)


def test_pause_is_no_running(tmp_path: Path) -> None:
    """A runtime says Running and Paused of a paused container; status says Paused."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        await adapter.signal(handle, Signal.STOP)
        assert (await adapter.status(handle)).phase is Phase.PAUSED
        await adapter.signal(handle, Signal.STOP)
        await adapter.signal(handle, Signal.CONT)
        assert (await adapter.status(handle)).phase is Phase.RUNNING

    with_fake(tmp_path, body)


def test_stop_escalates_and_proves(tmp_path: Path) -> None:
    """A daemon deaf to TERM is killed after its deadline, and the certificate says so; stopping twice is harmless."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request(name="deaf"))
        certificate = await adapter.stop(handle, 0.05)
        assert certificate.escalated
        assert certificate.proven
        assert [number for _, number in fake.signals] == [15, 9]
        assert certificate.exit is not None
        assert certificate.exit.signal == 9
        again = await adapter.stop(handle, 0.05)
        assert again.proven
        assert not again.steps

    with_fake(tmp_path, body)


def test_only_ours_is_signalled(tmp_path: Path) -> None:
    """Another run of the same container, another container with its name, and one with another label are strangers."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        other = ContainerAdapter(runtime="docker", socket=fake.path, timeout=TIMEOUT)
        try:
            assert await other.verify(handle) is Ownership.OURS
            earlier = msgspec.structs.replace(handle, data={**handle.data, "started": "2025-01-01T00:00:00Z"})
            assert await other.verify(earlier) is Ownership.STRANGER
            with pytest.raises(IdentityError, match="stranger"):
                await other.signal(earlier, Signal.TERM)
            recycled = msgspec.structs.replace(handle, instance="f" * 64)
            assert await other.verify(recycled) is Ownership.STRANGER
            fake.containers[handle.instance]["Config"]["Labels"] = {}
            assert await other.verify(handle) is Ownership.STRANGER
            certificate = await other.stop(handle, 0.1)
            assert not certificate.proven
            assert not fake.signals
        finally:
            await other.close()

    with_fake(tmp_path, body, keep=True)


def test_adoption_by_another_process(tmp_path: Path) -> None:
    """An adapter that never started it reports its end; what has ended meanwhile is GONE, with its exit."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = DaemonHandle.from_json((await adapter.launch(request())).to_json())
        other = ContainerAdapter(runtime="docker", socket=fake.path, timeout=TIMEOUT, keep=True)
        seen: list[AdapterEvent] = []
        other.subscribe(seen.append)
        try:
            assert await other.adopt(handle) is Ownership.OURS
            assert await other.adopt(handle) is Ownership.OURS
            fake.die(handle.instance, 5)
            await until(lambda: seen)
            assert seen[0].exit is not None
            assert seen[0].exit.code == 5
            third = ContainerAdapter(runtime="docker", socket=fake.path, timeout=TIMEOUT, keep=True)
            assert await third.adopt(handle) is Ownership.GONE
            assert (await third.wait(handle)).code == 5
            assert str(await third.status(handle)) == "Failed (exit code 5)"
            await third.close()
        finally:
            await other.close()

    with_fake(tmp_path, body)


def test_restarts_of_the_runtime(tmp_path: Path) -> None:
    """A policy that is delegated is the runtime's: its restart is RESTARTED and no exit."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        policy = RestartConfig(
            policy=RestartPolicy.ALWAYS,
            initial_delay=0.1,
            max_delay=60.0,
            stable_after=10.0,
            max_retries=10_000,
            delegate=True,
        )
        handle = await adapter.launch(request(restart=policy))
        assert fake.bodies[-1]["HostConfig"]["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
        state = fake.containers[handle.instance]["State"]
        state.update(Status="restarting", Restarting=True, Running=False)
        fake.tell(handle.instance, "die", exitCode="1")
        await asyncio.sleep(0.05)
        fake.run(handle.instance)
        await until(lambda: events)
        assert [event.kind for event in events] == [EventKind.RESTARTED]
        assert await adapter.verify(handle) is Ownership.OURS

    with_fake(tmp_path, body)


def test_what_a_runtime_would_ignore_is_refused(tmp_path: Path) -> None:
    """A setting without effect stops the start before anything is made, unless best_effort lets it pass."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        for fields, key in (
            ({"resources": ResourceConfig(address_space_bytes=1 << 30)}, "resources.address_space_bytes"),
            ({"resources": ResourceConfig(nice=5)}, "resources.nice"),
            ({"restart": RestartConfig(delegate=True)}, "restart.delegate"),
            ({"platform": PlatformSection(container={"netwrok": "host"})}, "platform.container.netwrok"),
            (
                {
                    "health_check": HealthCheckConfig(port=80),
                    "platform": PlatformSection(container={"network": "none"}),
                },
                "health_check.port",
            ),
        ):
            with pytest.raises(PlatformConfigError, match=key):
                await adapter.launch(request(**fields))
        assert not fake.bodies
        await adapter.launch(request(resources=ResourceConfig(nice=5), best_effort=True))

    with_fake(tmp_path, body)


def test_no_image_at_all(tmp_path: Path) -> None:
    """Without an image there is one error that says where to write it."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        with pytest.raises(PlatformConfigError, match=r"platform\.container_image"):
            await adapter.launch(request())

    with_fake(tmp_path, body, image=None)


def test_unhealthy_is_restarted_by_policy(tmp_path: Path) -> None:
    """Docker never restarts an unhealthy container; the manager does, where the policy restarts failures, and only there."""

    async def whole() -> None:
        async with FakeRuntime(str(tmp_path / "d.sock")) as fake:
            adapter = ContainerAdapter(runtime="docker", socket=fake.path, image="busybox:1", timeout=2.0)
            async with DaemonManager(adapter=adapter) as manager:
                assert await _gets_unhealthy(fake, manager, RestartPolicy.ON_FAILURE)
                assert not await _gets_unhealthy(fake, manager, RestartPolicy.NEVER)

    run(whole())


async def _gets_unhealthy(fake: FakeRuntime, manager: DaemonManager, policy: RestartPolicy) -> bool:
    """Whether a daemon under *policy* is another container after its runtime called it unhealthy."""
    health = HealthCheckConfig(exec=("/bin/check",), retries=2)
    manager.register(config(name=policy.value, restart=RestartConfig(policy=policy), health_check=health))
    await manager.start(policy.value)
    assert fake.bodies[-1]["Healthcheck"]["Test"] == ["CMD", "/bin/check"]
    supervisor = manager.find(policy.value)
    assert supervisor is not None
    first = supervisor.handle
    assert first is not None
    events: list[str] = []
    manager.subscribe(lambda event: events.append(event.kind))
    fake.tell(first.instance, "health_status: unhealthy")
    await until(lambda: "health" in events)
    if policy is not RestartPolicy.NEVER:
        await until(lambda: "running" in events)
    return supervisor.handle is not None and supervisor.handle.instance != first.instance


def test_what_is_kept_and_what_is_removed(tmp_path: Path) -> None:
    """An ended container stays until it is forgotten; closing without keep removes all, with keep nothing."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        fake.die(handle.instance, 0)
        await adapter.wait(handle)
        assert handle.instance in fake.containers
        adapter.forget([handle.daemon_id])
        await until(lambda: not fake.containers)
        await adapter.launch(request())
        await adapter.close()
        assert not fake.containers
        keeper = ContainerAdapter(
            runtime="docker", socket=fake.path, image="busybox:1", timeout=TIMEOUT, keep=True
        )
        await keeper.launch(request())
        await keeper.close()
        assert len(fake.containers) == 1

    with_fake(tmp_path, body)
