"""Calls to systemd: PID 1 of a container of a private dockerd, asked from outside over its bus.

Its commands run inside, entered by nsenter(1): the machine's own systemd, where there is one, is not to be asked.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import signal
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
from bench.platforms.wire import RawBus
from bench.table import HERO
from fixtures.runtimes.dockerd import Docker, docker
from fixtures.runtimes.speak import need, need_root
from fixtures.runtimes.systemd import Systemd, systemd
from fixtures.sharing import LabMissingError

NAME = "org.freedesktop.systemd1"
MANAGER = (NAME, "/org/freedesktop/systemd1", f"{NAME}.Manager")
PROPERTIES = "org.freedesktop.DBus.Properties"
JOBS = f"type='signal',sender='{NAME}',interface='{NAME}.Manager',member='JobRemoved'"
PROGRAM = ["/usr/bin/sleep", "1000"]
DEAF = ["/bin/sh", "-c", "trap '' USR1; exec sleep 1000"]
"""A program that no USR1 ends."""
JOB_WITHIN = 20.0
NUMBERS = itertools.count(1)


class SystemdCalls(Platform):
    """Status, signal and start of a unit."""

    name: ClassVar[str] = "systemd"
    about: ClassVar[str] = (
        "systemd: raw API is D-Bus over the bus's socket (Get of SubState; Kill; StartTransientUnit of Type=exec until its job "
        "is done), the library dbus-fast with the same calls, the command systemctl show, systemctl kill, systemd-run"
    )

    @classmethod
    def missing(cls) -> str:
        """It runs in a Docker container, and needs the package."""
        try:
            need(*Docker.programs, "nsenter")
            need_root("systemd in a container")
        except LabMissingError as error:
            return str(error)
        if importlib.util.find_spec("dbus_fast") is None:
            return "no package dbus-fast; pip install 'duende[systemd]' has it"
        return ""

    async def measure(self, figures: frozenset[str], times: Times) -> Samples:
        """On a systemd of its own, that is gone afterwards."""
        samples: Samples = {}
        with docker(shared=False) as below, systemd(below, shared=False) as host:
            async with AsyncExitStack() as stack:
                bench = _Bench(host)
                stack.push_async_callback(bench.close)
                await bench.prepare()
                if "systemd-status" in figures:
                    merge(samples, await interleaved("systemd-status", bench.status(), times.quick))
                if "systemd-signal" in figures:
                    merge(samples, await interleaved("systemd-signal", bench.signal(), times.quick))
                if "systemd-start" in figures:
                    merge(samples, await interleaved("systemd-start", bench.start(), 2 * times.starts))
        return samples


def _properties(program: list[str]) -> list[Any]:
    from dbus_fast import Variant

    return [
        ["Type", Variant("s", "exec")],
        ["ExecStart", Variant("a(sasb)", [[program[0], program, False]])],
    ]


class _Bench:
    """The four clients of one systemd, and a unit of the adapter and one of nobody's."""

    def __init__(self, host: Systemd) -> None:
        from duende.adapters.systemd.adapter import SystemdAdapter

        self.host = host
        folder = host.shared / "r"
        folder.mkdir(exist_ok=True)
        inside = ("docker", "--host", host.docker.base_url, "exec", host.container_id)
        self.adapter = SystemdAdapter(
            user=False,
            bus_address=host.bus_address,
            runtime_dir=str(folder),
            journal=(*inside, "journalctl"),
        )
        self.line = ["nsenter", "--target", str(host.root_pid), "--mount", "--pid", "--"]
        path = str(host.bus_socket)
        self.raw, self.starter = RawBus(path), RawBus(path)
        self.bus: Any = None
        self.jobs: dict[str, asyncio.Future[str]] = {}
        self.handle: Any = None
        self.other, self.path = "", ""

    async def prepare(self) -> None:
        """Connect the library, and start both units."""
        from dbus_fast.aio import MessageBus

        self.bus = await MessageBus(bus_address=self.host.bus_address).connect()
        self.bus.add_message_handler(self._on_message)
        await self._call(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", [JOBS]
        )
        await self._call(*MANAGER, "Subscribe")
        self.starter.match(JOBS)
        self.starter.call(RawBus.text(*MANAGER, "Subscribe"))
        self.handle = await self.adapter.launch(self._request(DEAF))
        self.other = await self._library_start(DEAF)
        (self.path,) = await self._call(*MANAGER, "GetUnit", "s", [self.other])

    async def close(self) -> None:
        """Leave nothing."""
        await self.adapter.close()
        if self.other:
            await self._stopped(self.other)
        if self.bus is not None:
            self.bus.disconnect()
        self.raw.close()
        self.starter.close()

    def _request(self, program: list[str]) -> Any:
        from duende.adapters.contract import SpawnRequest
        from duende.config.model import DaemonConfig, RestartConfig, RestartPolicy
        from duende.ids import DaemonId

        config = DaemonConfig(
            name="tiny",
            binary_path=program[0],
            args=tuple(program[1:]),
            restart=RestartConfig(policy=RestartPolicy.NEVER),
        )
        return SpawnRequest(daemon_id=str(DaemonId.new()), config=config)

    def status(self) -> dict[str, Step]:
        """How one unit is."""
        from duende.states import Phase

        words = (PROPERTIES, "Get", "ss", [f"{NAME}.Unit", "SubState"])
        asked = RawBus.text(NAME, self.path, *words)

        async def mine() -> None:
            found = await self.adapter.status(self.handle)
            if found.phase is not Phase.RUNNING:
                raise CallError(f"not running: {found}")

        return {
            HERO: awaited(mine),
            RAW: plain(lambda: self.raw.call(asked)),
            LIBRARY: awaited(lambda: self._call(NAME, self.path, *words)),
            COMMAND: plain(
                lambda: command([*self.line, "systemctl", "show", "--property=SubState", self.other])
            ),
        }

    def signal(self) -> dict[str, Step]:
        """A signal to the main process of one unit."""
        from duende.signals import Signal

        words = (f"{NAME}.Unit", "Kill", "si", ["main", int(signal.SIGUSR1)])
        asked = RawBus.text(NAME, self.path, *words)
        line = [*self.line, "systemctl", "kill", "--signal=USR1", "--kill-who=main", self.other]
        return {
            HERO: awaited(lambda: self.adapter.signal(self.handle, Signal.USR1)),
            RAW: plain(lambda: self.raw.call(asked)),
            LIBRARY: awaited(lambda: self._call(NAME, self.path, *words)),
            COMMAND: plain(lambda: command(line)),
        }

    def start(self) -> dict[str, Step]:
        """A unit whose program has been executed; stopped again, untimed."""

        async def mine() -> float:
            asked = self._request(PROGRAM)
            began = time.perf_counter()
            handle = await self.adapter.launch(asked)
            took = time.perf_counter() - began
            await self.adapter.stop(handle, 5.0)
            self.adapter.forget([handle.daemon_id])
            await self._stopped(handle.instance)
            return took * 1e3

        async def raw() -> float:
            unit = _unit()
            asked = RawBus.text(
                *MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", [unit, "fail", _properties(PROGRAM), []]
            )
            self.starter.drain()
            began = time.perf_counter()
            self.starter.call(asked)
            self.starter.signal(unit.encode() + b"\0", b"done\0")
            took = time.perf_counter() - began
            await self._stopped(unit)
            return took * 1e3

        async def library() -> float:
            began = time.perf_counter()
            unit = await self._library_start(PROGRAM)
            took = time.perf_counter() - began
            await self._stopped(unit)
            return took * 1e3

        async def run() -> float:
            unit = _unit()
            line = [*self.line, "systemd-run", "--quiet", f"--unit={unit}", "--service-type=exec", *PROGRAM]
            began = time.perf_counter()
            command(line)
            took = time.perf_counter() - began
            await self._stopped(unit)
            return took * 1e3

        return {HERO: mine, RAW: raw, LIBRARY: library, COMMAND: run}

    async def _library_start(self, program: list[str]) -> str:
        unit = _unit()
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.jobs[unit] = done
        try:
            await self._call(
                *MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", [unit, "fail", _properties(program), []]
            )
            async with asyncio.timeout(JOB_WITHIN):
                result = await done
        finally:
            del self.jobs[unit]
        if result != "done":
            raise CallError(f"{unit}: its job ended with {result}")
        return unit

    def _on_message(self, message: Any) -> None:
        if message.member == "JobRemoved":
            done = self.jobs.get(message.body[2])
            if done is not None and not done.done():
                done.set_result(message.body[3])

    async def _call(
        self,
        to: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
    ) -> list[Any]:
        from dbus_fast import Message, MessageType

        message = Message(
            destination=to,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body or [],
        )
        answer = await self.bus.call(message)
        if answer.message_type is MessageType.ERROR:
            raise CallError(f"{member}: {answer.error_name}: {answer.body}")
        return list(answer.body)

    async def _stopped(self, unit: str) -> None:
        """Stop it if it is there, and wait until its name is free."""
        self.raw.call(RawBus.text(*MANAGER, "StopUnit", "ss", [unit, "replace"]), errors=True)
        asked = RawBus.text(*MANAGER, "GetUnit", "s", [unit])
        await until(lambda: self.raw.call(asked, errors=True) is None, f"{unit} is unloaded")


def _unit() -> str:
    return f"bench-{os.getpid()}-{next(NUMBERS)}.service"
