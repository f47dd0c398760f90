"""Calls to Docker: a private dockerd, and the image `tiny`."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from bench.calls import COMMAND, LIBRARY, RAW
from bench.platforms.base import (
    CallError,
    Platform,
    Samples,
    Step,
    Times,
    awaited,
    command,
    interleaved,
    merge,
    plain,
    until,
)
from bench.platforms.wire import RawHttp
from bench.table import HERO
from fixtures.runtimes.dockerd import Docker, docker
from fixtures.runtimes.speak import need, need_root
from fixtures.sharing import LabMissingError

PROGRAM = ["/bin/sleep", "1000"]
API = "/v1.41"
DEAF = ["/bin/sh", "-c", "trap '' USR1; exec sleep 1000"]
"""A program that no USR1 ends."""


class DockerCalls(Platform):
    """Status, signal and start of a container."""

    name: ClassVar[str] = "docker"
    about: ClassVar[str] = (
        "Docker: raw API is HTTP over the runtime's socket (GET json; POST kill; POST create and POST start), the library "
        "the docker package, the command docker inspect, docker kill -s, docker run -d"
    )

    @classmethod
    def missing(cls) -> str:
        """It needs the programs, root, and the package."""
        try:
            need(*Docker.programs)
            need_root("a private dockerd")
        except LabMissingError as error:
            return str(error)
        if importlib.util.find_spec("docker") is None:
            return "no package docker; pip install 'duende[container]' has it"
        return ""

    async def measure(self, figures: frozenset[str], times: Times) -> Samples:
        """On a dockerd of its own, that is gone afterwards."""
        import docker as package

        samples: Samples = {}
        with docker(shared=False) as runtime, tempfile.TemporaryDirectory(prefix="duende-bench-") as folder:
            async with AsyncExitStack() as stack:
                bench = _Bench(runtime, folder, package.DockerClient(base_url=runtime.base_url))
                stack.push_async_callback(bench.close)
                await bench.prepare()
                if "docker-status" in figures:
                    merge(samples, await interleaved("docker-status", bench.status(), times.quick))
                if "docker-signal" in figures:
                    merge(samples, await interleaved("docker-signal", bench.signal(), times.quick))
                if "docker-start" in figures:
                    merge(samples, await interleaved("docker-start", bench.start(), times.starts))
        return samples


class _Bench:
    """The four clients of one dockerd, and a container of the adapter and one of nobody's."""

    def __init__(self, runtime: Docker, folder: str, client: Any) -> None:
        from duende.adapters.container.adapter import ContainerAdapter

        self.image = runtime.image("tiny")
        self.raw = RawHttp(str(runtime.socket))
        self.client = client
        self.line = ["docker", "--host", runtime.base_url]
        self.adapter = ContainerAdapter(
            runtime="docker", socket=str(runtime.socket), runtime_dir=folder, state_dir=folder
        )
        self.handle: Any = None
        self.other = ""

    async def prepare(self) -> None:
        """Start both."""
        self.handle = await self.adapter.launch(self._request(DEAF))
        self.other = self._raw_start(DEAF)

    async def close(self) -> None:
        """Leave nothing."""
        await self.adapter.close()
        if self.other:
            self._removed(self.other)
        self.client.close()
        self.raw.close()

    def _request(self, program: list[str]) -> Any:
        from duende.adapters.contract import SpawnRequest
        from duende.config.model import DaemonConfig, PlatformSection, RestartConfig, RestartPolicy
        from duende.ids import DaemonId

        config = DaemonConfig(
            name="tiny",
            binary_path=program[0],
            args=tuple(program[1:]),
            restart=RestartConfig(policy=RestartPolicy.NEVER),
            platform=PlatformSection(container_image=self.image),
        )
        return SpawnRequest(daemon_id=str(DaemonId.new()), config=config)

    def status(self) -> dict[str, Step]:
        """How one container is."""
        from duende.states import Phase

        asked = RawHttp.text("GET", f"{API}/containers/{self.other}/json")

        async def mine() -> None:
            found = await self.adapter.status(self.handle)
            if found.phase is not Phase.RUNNING:
                raise CallError(f"not running: {found}")

        return {
            HERO: awaited(mine),
            RAW: plain(lambda: self.raw.request(asked, 200)),
            LIBRARY: plain(lambda: self.client.containers.get(self.other).status),
            COMMAND: plain(lambda: command([*self.line, "inspect", self.other])),
        }

    def signal(self) -> dict[str, Step]:
        """A signal to one container."""
        from duende.signals import Signal

        asked = RawHttp.text("POST", f"{API}/containers/{self.other}/kill?signal=USR1")
        held = self.client.containers.get(self.other)
        return {
            HERO: awaited(lambda: self.adapter.signal(self.handle, Signal.USR1)),
            RAW: plain(lambda: self.raw.request(asked, 204)),
            LIBRARY: plain(lambda: held.kill("USR1")),
            COMMAND: plain(lambda: command([*self.line, "kill", "--signal", "USR1", self.other])),
        }

    def start(self) -> dict[str, Step]:
        """A container that runs; removed again, untimed."""

        async def mine() -> float:
            asked = self._request(PROGRAM)
            began = time.perf_counter()
            handle = await self.adapter.launch(asked)
            took = time.perf_counter() - began
            self._removed(handle.instance)
            await self.adapter.wait(handle)
            self.adapter.forget([handle.daemon_id])
            await until(lambda: self._is_gone(handle.instance), f"{handle.instance} is gone")
            return took * 1e3

        def other(run: Any) -> Step:
            async def step() -> float:
                began = time.perf_counter()
                made = run()
                took = time.perf_counter() - began
                self._removed(made)
                return took * 1e3

            return step

        return {
            HERO: mine,
            RAW: other(lambda: self._raw_start(PROGRAM)),
            LIBRARY: other(lambda: self.client.containers.run(self.image, PROGRAM, detach=True).id),
            COMMAND: other(lambda: command([*self.line, "run", "--detach", self.image, *PROGRAM]).strip()),
        }

    def _raw_start(self, program: list[str]) -> str:
        body = json.dumps({"Image": self.image, "Cmd": program}).encode()
        made = self.raw.request(RawHttp.text("POST", f"{API}/containers/create", body), 201)
        container = str(json.loads(made)["Id"])
        self.raw.request(RawHttp.text("POST", f"{API}/containers/{container}/start"), 204)
        return container

    def _removed(self, container: str) -> None:
        self.raw.request(RawHttp.text("DELETE", f"{API}/containers/{container}?force=1&v=1"), 204, 404, 409)

    def _is_gone(self, container: str) -> bool:
        answer = self.raw.request(RawHttp.text("GET", f"{API}/containers/{container}/json"), 200, 404)
        return b'"message"' in answer
