"""The server and its queues without the driver: on the model of it, and with a ring that says what the test says. What the kernel makes of them is tried
in a guest (`fixtures/tests/test_ublk.py`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from duende.config.model import DaemonConfig
from duende.daemon import DaemonContext
from duende.errors import UblkError
from duende.states import HealthKind
from duende.ublk import DeviceInfo, Feature, Parameters, State, UblkControl
from duende.ublk import queue as queues
from duende.ublk import server as servers
from duende.ublk.backing import Memory
from duende.ublk.layout import DESCRIPTOR, IO_COMMAND, IoOp, Request, buffer_at, mark_of
from duende.ublk.queue import ABORT, OK, Queue
from duende.ublk.server import BlockServer
from fixtures.ublk.model import Model

BLOCK = 4096
SIZE = 16 * BLOCK
GONE = 2**22 - 1
"""No process: the largest number there may be, less one."""


class Fetching:
    """In the place of a queue: has fetched at once, as far as the model knows."""

    model: Model
    problem: BaseException | None = None
    lives = True

    def __init__(self, node: int, number: int, depth: int, backing: object, *, partitions: bool) -> None:
        self.number = number
        self.counts = queues.Counts(1, BLOCK, 0, 0)
        self.fetched = threading.Event()
        self.told = (node, depth, backing, partitions)

    def start(self) -> None:
        """Fetch."""
        for device in self.model.devices.values():
            device.fetched = os.getpid()
        self.fetched.set()

    def join(self, timeout: float) -> bool:
        """It ends with the device."""
        return timeout > 0

    @property
    def alive(self) -> bool:
        """As the test says."""
        return self.lives


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The driver; the moments that the server waits are short."""
    made = Model(tmp_path)
    monkeypatch.setattr(Fetching, "model", made, raising=False)
    monkeypatch.setattr(servers, "Queue", Fetching)
    monkeypatch.setattr(servers, "NODE_WITHIN_S", 0.3)
    monkeypatch.setattr(servers, "WATCH_EVERY_S", 0.01)
    return made


def control(model: Model) -> UblkControl:
    """A client of it."""
    return UblkControl(model, nodes=str(model.nodes))


def config(**settings: Any) -> DaemonConfig:
    """Of a server without privileges."""
    given = {"size": SIZE, "io_flusher": False, **settings}
    return DaemonConfig(name="b", daemon="duende.ublk.server:BlockServer", settings=given)


def test_a_whole_life(model: Model) -> None:
    """Added with its mark and one request more than is used, started, healthy, counted; at the end there is no device."""

    async def body() -> None:
        server = BlockServer(control(model))
        assert (await server.health_check()).kind is HealthKind.UNHEALTHY
        await server.init(config(depth=9, queues=1))
        info = control(model).info(server.device)
        assert (info.state, info.depth, info.adder) == (State.LIVE, 10, os.getpid())
        assert (await server.health_check()).kind is HealthKind.HEALTHY
        assert server.counts() == {"requests": 1, "read_bytes": BLOCK, "written_bytes": 0, "errors": 0}
        context = DaemonContext(config())
        asyncio.get_running_loop().call_later(0.05, context.request_shutdown)
        reason = await server.run(context)
        assert reason is not None
        assert "graceful" in str(reason).lower()
        await server.shutdown(5.0)
        await server.shutdown(5.0)  # once is enough, twice does no harm
        assert model.devices == {}

    asyncio.run(body())


def test_a_queue_that_ends(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the server, with the reason."""

    async def body() -> None:
        server = BlockServer(control(model))
        await server.init(config())
        monkeypatch.setattr(Fetching, "lives", False)
        monkeypatch.setattr(Fetching, "problem", OSError(errno.EIO, "tag 3 cannot be served"))
        reason = await server.run(DaemonContext(config()))
        assert "tag 3" in str(reason)
        await server.shutdown(5.0)

    asyncio.run(body())


def test_a_queue_that_cannot_begin(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the device."""
    monkeypatch.setattr(Fetching, "problem", OSError(errno.ENOMEM, "no memory for a ring"))
    with pytest.raises(UblkError, match="no memory for a ring") as caught:
        asyncio.run(BlockServer(control(model)).init(config()))
    assert caught.value.errno == errno.ENOMEM
    assert model.devices == {}


def quiesced(model: Model, path: Path, pid: int = GONE, state: State = State.QUIESCED) -> int:
    """A device whose server has gone."""
    path.write_bytes(bytes(SIZE))
    with control(model) as client:
        flags = Feature.USER_COPY | servers.RECOVERY
        device = client.add(DeviceInfo(depth=8, flags=flags, server_flags=mark_of(pid))).device
        client.set_parameters(device, Parameters(sectors=SIZE // 512))
    found = model.devices[device]
    model.devices[device].info = DeviceInfo(
        device=device, depth=8, flags=found.info.flags, state=state, server_pid=pid, server_flags=mark_of(pid)
    )
    return device


def test_recovery(model: Model, tmp_path: Path) -> None:
    """Goes on with the device that waits; a dead one is deleted and added anew; orphans beside it are cleaned."""
    path = tmp_path / "blocks"

    async def body(device: int) -> BlockServer:
        server = BlockServer(control(model))
        await server.init(config(recovery=True, device=device, path=str(path)))
        return server

    waiting, other = quiesced(model, path), quiesced(model, path)
    server = asyncio.run(body(waiting))
    assert server.recovered
    assert control(model).info(waiting).state == State.LIVE
    assert control(model).find(other) is None
    asyncio.run(server.shutdown(5.0))
    dead = quiesced(model, path, state=State.DEAD)
    server = asyncio.run(body(dead))
    assert not server.recovered
    asyncio.run(server.shutdown(5.0))
    assert model.devices == {}


def test_a_device_that_somebody_serves(model: Model, tmp_path: Path) -> None:
    """Is left alone, and named."""
    path = tmp_path / "blocks"
    taken = quiesced(model, path, os.getppid(), State.LIVE)
    with pytest.raises(UblkError, match=f"process {os.getppid()} does") as caught:
        asyncio.run(BlockServer(control(model)).init(config(recovery=True, device=taken, path=str(path))))
    assert caught.value.errno == errno.EEXIST
    assert control(model).info(taken).state == State.LIVE


def test_a_node_that_does_not_come(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is waited for, not for ever; the device goes again."""
    monkeypatch.setattr(UblkControl, "character", lambda _self, _device: str(model.nodes / "nowhere"))
    with pytest.raises(UblkError, match="devtmpfs"):
        asyncio.run(BlockServer(control(model)).init(config()))
    assert model.devices == {}


class Script:
    """In the place of a ring: gives the completions of the test, and keeps what is committed."""

    steps: list[list[tuple[int, int]]]
    committed: list[tuple[int, int]]

    def __init__(self, entries: int) -> None:
        self.entries = entries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def command(self, fd: int, operation: int, payload: bytes, mark: int) -> None:
        """Note what was done with a request."""
        assert fd >= 0
        _, tag, result, _ = IO_COMMAND.unpack(payload)
        assert tag == mark
        if operation == IoOp.COMMIT_AND_FETCH_REQ:
            self.committed.append((tag, result))

    def submit(self, wait: int = 0) -> bool:
        """At once."""
        return wait >= 0

    def completions(self) -> list[tuple[int, int]]:
        """The next of them."""
        return self.steps.pop(0)


@pytest.fixture
def serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[tuple[int, int, int, int]]], tuple[Queue, list[tuple[int, int]], Memory]]:
    """Serves requests (tag, what, first sector, sectors) from a file in the place of a device; the queue, what it committed, and the blocks."""

    def work(
        requests: list[tuple[int, int, int, int]],
    ) -> tuple[Queue, list[tuple[int, int]], Memory]:
        node = os.open(tmp_path / "node", os.O_RDWR | os.O_CREAT)
        os.ftruncate(node, BLOCK)
        for tag, what, first, sectors in requests:
            os.pwrite(node, DESCRIPTOR.pack(what, sectors, first, 0), tag * DESCRIPTOR.size)
            os.pwrite(node, bytes([tag + 1]) * sectors * 512, buffer_at(0, tag))
        steps = [[(tag, OK) for tag, *_ in requests], [(tag, ABORT) for tag in range(8)]]
        monkeypatch.setattr(Script, "steps", steps, raising=False)
        monkeypatch.setattr(Script, "committed", [], raising=False)
        monkeypatch.setattr(queues, "Ring", Script)
        backing = Memory(SIZE)
        served = Queue(node, 0, 8, backing, partitions=True)
        served.start()
        assert served.join(10.0)
        os.close(node)
        return served, Script.committed, backing

    return work


def test_requests(serve: Any, tmp_path: Path) -> None:
    """Each is done and told by its length; what cannot be done is told by its number, and counted."""
    served, committed, backing = serve(
        [
            (0, Request.WRITE, 8, 8),
            (1, Request.READ, 8, 8),
            (2, Request.FLUSH, 2**63, 0),
            (3, Request.DISCARD, 8, 8),
            (4, Request.READ, 1 << 20, 8),
            (5, Request.WRITE_SAME, 0, 8),
        ]
    )
    assert served.problem is None
    assert served.fetched.is_set()
    assert committed == [
        (0, BLOCK), (1, BLOCK), (2, 0), (3, BLOCK), (4, -errno.EIO), (5, -errno.EOPNOTSUPP),
    ]  # fmt: skip
    assert served.counts == (6, BLOCK, BLOCK, 2)
    with (tmp_path / "node").open("rb") as node:
        node.seek(buffer_at(0, 1))
        assert node.read(BLOCK) == b"\x01" * BLOCK  # what the first wrote, the second read
    backing.close()


def test_a_request_that_is_lost(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    """The driver's other words end the queue, with the reason."""

    def wrong(self: Script) -> list[tuple[int, int]]:
        return [(3, -errno.EINVAL)]

    monkeypatch.setattr(Script, "completions", wrong)
    served, _, _ = serve([])
    assert isinstance(served.problem, OSError)
    assert "tag 3 of queue 0" in str(served.problem)
    assert not served.alive
