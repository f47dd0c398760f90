"""Runtimes that hang, lie, die or refuse: one clear error in time, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from duende.adapters.container import exchange
from duende.adapters.container.adapter import ContainerAdapter
from duende.adapters.contract import (
    AdapterEvent,
    EventKind,
    Ownership,
    ProbeState,
    SpawnRequest,
)
from duende.config.model import (
    PlatformSection,
)
from duende.errors import (
    AccessError,
    DuendeError,
    PlatformTimeoutError,
    SpawnError,
)
from duende.signals import Signal
from falsification.units.adapters.container.fake_runtime import FakeRuntime
from falsification.units.adapters.container.support import ID, TIMEOUT, request, until, with_fake
from falsification.units.support import config, run


@pytest.mark.parametrize(
    ("fields", "knob", "match"),
    [
        (
            {"platform": PlatformSection(container_image="nope:1")},
            "",
            "no image 'nope:1'.*docker pull nope:1",
        ),
        ({}, 'exec: "/bin/true": stat /bin/true: no such file or directory: unknown', "exec of '/bin/true'"),
        ({}, "error setting rlimit type 7: operation not permitted", "CAP_SYS_RESOURCE"),
        (
            {"user": "ghost"},
            "unable to find user ghost: no matching entries in passwd file",
            "use a user of the image",
        ),
        ({}, "something that nobody has ever seen", "nobody has ever seen"),
    ],
)
def test_a_start_that_fails_leaves_nothing(
    tmp_path: Path, fields: dict[str, Any], knob: str, match: str
) -> None:
    """One error that names value and remedy; no container, no folder, no socket."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        fake.start_error = knob
        with pytest.raises(SpawnError, match=match):
            await adapter.launch(request(**fields))
        assert not fake.containers
        assert not events

    with_fake(tmp_path, body)


def test_a_class_that_cannot_start_leaves_no_folder(tmp_path: Path) -> None:
    """The folder and the socket's link of a `Daemon` go with its container."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        fake.start_error = "no space left on device"
        with pytest.raises(SpawnError, match="no space"):
            await adapter.launch(
                SpawnRequest(
                    daemon_id=ID, config=config(binary_path=None, daemon="duende.examples.daemon:Counter")
                )
            )
        assert os.listdir(tmp_path / "run" / "containers") == []
        assert sorted(os.listdir(tmp_path / "run")) == ["containers", "notify"]

    with_fake(tmp_path, body)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """A stranger's container keeps its name, and the error says how to get rid of it; our own of an earlier run makes room, even if it runs."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        labels = fake.containers[handle.instance]["Config"]["Labels"]
        second = await adapter.launch(request())
        assert fake.removed == [handle.instance]
        fake.containers[second.instance]["Config"]["Labels"] = {**labels, "duende.daemon.id": "another"}
        with pytest.raises(SpawnError, match="docker rm -f duende-web-0b7a3c52"):
            await adapter.launch(request())
        assert list(fake.containers) == [second.instance]

    with_fake(tmp_path, body)


def test_a_start_does_not_wait_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that was away for long is looked for rarely; a start finds at once that it is back."""
    monkeypatch.setattr(exchange, "RECONNECT_FIRST", 3600.0)

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        await adapter.launch(request())
        await fake.stop()
        await until(lambda: [each for each in events if each.kind is EventKind.ALERT])
        with pytest.raises(DuendeError):
            await adapter.launch(request())
        await fake.start()
        monkeypatch.setattr(exchange, "RECONNECT_FIRST", TIMEOUT / 10)
        await adapter.launch(request())

    with_fake(tmp_path, body)


@pytest.mark.parametrize("mode", ["garbage", "garbage-json", "hang", "hangup", "drip"])
def test_a_runtime_out_of_its_mind(tmp_path: Path, mode: str) -> None:
    """Every verb has one clear error within its deadline, and the loop goes on turning meanwhile."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        fake.mode = mode
        gaps: list[float] = []
        ticker = asyncio.create_task(_tick(gaps))
        for work in (
            adapter.status(handle),
            adapter.signal(handle, Signal.USR1),
            adapter.explain(handle, config()),
            adapter.launch(request(name="other")),
            adapter.logs(handle, 5),
        ):
            began = time.monotonic()
            with pytest.raises(DuendeError) as caught:
                await work
            assert time.monotonic() - began < 10 * TIMEOUT
            assert str(fake.path) in str(caught.value) or "docker" in str(caught.value)
        assert await adapter.verify(handle) is Ownership.UNVERIFIABLE
        certificate = await adapter.stop(handle, 0.1)
        assert not certificate.proven
        probe = await adapter.probe()
        assert probe.state is ProbeState.UNHEALTHY
        await asyncio.sleep(0.05)
        ticker.cancel()
        assert max(gaps) < TIMEOUT

    with_fake(tmp_path, body)


async def _tick(gaps: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        gaps.append(time.monotonic() - began)


def test_a_container_made_too_late_is_taken_back(tmp_path: Path) -> None:
    """The runtime makes the container and does not answer: once it does, the container goes."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        first = await adapter.launch(request())
        fake.mode = "late"
        other = msgspec.structs.replace(
            request(name="slow"), daemon_id="1b7a3c52-0000-4000-8000-000000000002"
        )
        with pytest.raises(PlatformTimeoutError):
            await adapter.launch(other)
        assert len(fake.containers) == 2
        await fake.stop()
        fake.mode = "normal"
        os.unlink(fake.path)
        await fake.start()
        await until(lambda: len(fake.containers) == 1)
        assert list(fake.containers) == [first.instance]

    with_fake(tmp_path, body)


def test_an_end_while_the_runtime_was_away(tmp_path: Path) -> None:
    """A stream of events that broke is taken up again, and an end in between is reported, once."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        handle = await adapter.launch(request())
        await fake.stop()
        os.unlink(fake.path)
        fake.die(handle.instance, 3, quietly=True)
        await fake.start()
        assert (await adapter.wait(handle)).code == 3
        kinds = [event.kind for event in events]
        assert kinds.count(EventKind.EXITED) == 1
        assert kinds.count(EventKind.ALERT) == 1
        assert any("since=" not in line for line in fake.requests if "/events" in line)

    with_fake(tmp_path, body)


def test_no_socket_and_no_right(tmp_path: Path) -> None:
    """A runtime that is not there, one that is stopped, and one that this user may not reach are told apart, with remedies."""

    async def body() -> None:
        missing = ContainerAdapter(
            runtime="docker", socket=str(tmp_path / "no.sock"), image="x", timeout=TIMEOUT
        )
        assert (await missing.probe()).state is ProbeState.ABSENT
        with pytest.raises(DuendeError, match=r"no\.sock is not there.*start docker"):
            await missing.launch(request())
        await missing.close()
        fake = FakeRuntime(str(tmp_path / "s.sock"))
        await fake.start()
        await fake.stop()
        stopped = ContainerAdapter(runtime="docker", socket=fake.path, image="x", timeout=TIMEOUT)
        assert (await stopped.probe()).state is ProbeState.UNHEALTHY
        with pytest.raises(DuendeError, match="nobody listening"):
            await stopped.launch(request())
        await stopped.close()

    run(body())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without the right")
def test_no_right_to_the_socket(tmp_path: Path) -> None:
    """A socket of another user is an AccessError that names the group as the remedy."""

    async def body(fake: FakeRuntime, adapter: ContainerAdapter, events: list[AdapterEvent]) -> None:
        os.chmod(fake.path, 0o600)
        for folder in (tmp_path, *tmp_path.parents):
            if os.stat(folder).st_uid == 0 and not os.stat(folder).st_mode & 0o001:
                os.chmod(folder, os.stat(folder).st_mode | 0o001)
        os.seteuid(65534)
        try:
            with pytest.raises(AccessError, match="group"):
                await adapter.launch(request())
        finally:
            os.seteuid(0)

    with_fake(tmp_path, body)
