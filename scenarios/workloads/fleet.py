"""A fleet on a runtime that misbehaves: daemons that are left alone, some that are not, one on another adapter, and who asks for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from duende.adapters.contract import DaemonHandle, PlatformAdapter, ProbeState, SupportsLogs
from duende.errors import DuendeError
from duende.manager.control import Control
from scenarios.drivers import Connection, RefusedError
from scenarios.lab import Lab
from scenarios.tables import always, daemon

STEADY = ("steady-0", "steady-1")
"""Nobody does anything to them."""
RESTLESS = ("restless-0", "restless-1")
"""They are started, stopped and signalled all the time."""
NEIGHBOUR = "neighbour"
"""One on the native adapter of the same manager."""
FRESH = "fresh"
WARM = 10
"""Tries until the runtime answers as quickly as it must."""
ASK_EVERY = 0.02
LOOK_EVERY = 0.1
ACT_EVERY = 0.15
"""Mean seconds between two deeds of the operator."""
GONE_WITHIN = 8.0
"""Seconds for what was taken back to be gone from the runtime: it is looked for four times, half a second apart."""


class Fleet:
    """All of them on one manager in this process, with a control socket."""

    def __init__(self, lab: Lab, adapter: PlatformAdapter) -> None:
        self._lab = lab
        self._adapter = adapter
        # The number is unlike any other process's, and so is the command line of each daemon.
        self._seconds = {
            name: f"{86_000 + number}.{os.getpid()}"
            for number, name in enumerate((*STEADY, *RESTLESS, NEIGHBOUR, FRESH))
        }
        self._before: list[str] = []
        self._chance = lab.rng("deeds")

    @classmethod
    async def of(cls, lab: Lab, adapter: PlatformAdapter | None) -> Self:
        """A manager with that adapter, and its control socket."""
        if adapter is None:
            raise ValueError("a fleet needs an adapter of its own")
        driver = await lab.manager(adapter=adapter)

        async def nothing() -> None:
            return None

        control = Control(driver.manager, nothing)
        await control.open()
        lab.after(control.close)
        return cls(lab, adapter)

    async def start(self) -> None:
        """Register all, and start all but the fresh one; the runtime has answered its first question before, which takes longest."""
        for _ in range(WARM):
            if (await self._adapter.probe()).state is ProbeState.USABLE:
                break
        self._before = await asyncio.to_thread(self._lab.platform.known)
        for name, seconds in self._seconds.items():
            policy = always(initial_delay=0.2, multiplier=2.0, max_delay=1.0)
            table = daemon(name, ["/bin/sleep", seconds], restart=policy, shutdown_timeout=1.0)
            if name == NEIGHBOUR:
                table["platform"] = {"adapter": "native"}
            await self._lab.register(table)
            if name != FRESH:
                await self._lab.start(name)

    async def live(self, *, until: asyncio.Event) -> None:
        """Everybody does what they do until the event; then they finish what they are at."""
        asking = [
            asyncio.create_task(work)
            for work in (
                self._ask("ping"),
                self._ask("list"),
                self._ask("status", name=STEADY[0]),
                self._count(),
            )
        ]
        doing = [
            self._again(until, "operator", self._operate),
            self._again(until, "prober", self._probe),
            self._again(until, "neighbour", lambda: self._lab.restart(NEIGHBOUR, by="neighbour")),
        ]
        try:
            await asyncio.gather(*doing)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def recover(self) -> str:
        """What is not well, empty when all is: who is down is asked for once more, as an operator would."""
        for name in (*STEADY, *RESTLESS, NEIGHBOUR):
            view = await self._lab.status(name, by="recovery")
            if view and view["status"] in ("Stopped", "Failed"):
                await self._lab.restart(name, by="recovery")
                view = await self._lab.status(name, by="recovery")
            if not view or view["status"] != "Running":
                return f"{name} is {view['status'] if view else 'not known'}: {view and view['reason']}"
        for name in (*STEADY, *RESTLESS):
            handle = self._handle(name)
            told = await self._call("status", self._adapter.status(handle), by="recovery") if handle else None
            if told is None or told["result"] != "Running":
                return f"the runtime says that {name} is {told}"
        return "" if await self._lab.start(FRESH, by="recovery") else f"{FRESH} does not start"

    async def end(self) -> str:
        """Forget all, and look at what is left of them."""
        for name in self._seconds:
            await self._lab.end(name)
        left: list[str] = []
        running: list[int] = []
        deadline = self._lab.history.now() + GONE_WITHIN
        while self._lab.history.now() < deadline:
            known = await asyncio.to_thread(self._lab.platform.known)
            left = [name for name in known if name not in self._before]
            running = [pid for pids in (await asyncio.to_thread(self._instances)).values() for pid in pids]
            if not left and not running:
                break
            await asyncio.sleep(LOOK_EVERY)
        self._lab.observe("survivors", pids=[*running, *left])
        return ""

    # -- who does what ---------------------------------------------------------------------------------------

    async def _again(self, until: asyncio.Event, who: str, deed: Callable[[], Awaitable[object]]) -> None:
        chance = self._lab.rng(who)
        while not until.is_set():
            await deed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0, 2 * ACT_EVERY)):
                    await until.wait()

    async def _operate(self) -> None:
        lab, chance = self._lab, self._chance
        name = chance.choice(RESTLESS)
        deed = chance.choice(("start", "start", "restart", "restart", "signal", "stop"))
        if deed == "signal":
            await lab.signal(name, "CONT", by="operator")
        else:
            await lab.ask(deed, by="operator", name=name)

    async def _probe(self) -> None:
        """The verbs that only ask, each once, of a daemon that runs."""
        adapter, handle = self._adapter, self._handle(STEADY[1])
        config = self._supervisor(STEADY[1]).config
        if handle is None:
            return
        await self._call("status", adapter.status(handle))
        await self._call("verify", adapter.verify(handle))
        await self._call("explain", adapter.explain(handle, config))
        await self._call("probe", adapter.probe())
        if isinstance(adapter, SupportsLogs):
            await self._call("logs", adapter.logs(handle, 5))

    async def _call(self, verb: str, work: Coroutine[Any, Any, Any], by: str = "prober") -> Any:
        async def refusing() -> dict[str, Any]:
            try:
                found = await work
            except DuendeError as error:
                raise RefusedError(type(error).__name__, str(error)) from error
            return {"result": str(found)[:100]}

        return await self._lab.record(by, "call", {"verb": verb}, refusing())

    async def _ask(self, op: str, **fields: str) -> None:
        connection = await Connection.open(self._lab.folder / "run" / "control.sock")
        try:
            while True:
                await self._lab.record(f"{op}er", op, dict(fields), connection.ask(op, **fields))
                await asyncio.sleep(ASK_EVERY)
        finally:
            await connection.close()

    async def _count(self) -> None:
        while True:
            for name, pids in (await asyncio.to_thread(self._instances)).items():
                self._lab.observe("instances", name=name, pids=pids)
            await asyncio.sleep(LOOK_EVERY)

    def _instances(self) -> dict[str, list[int]]:
        """Which processes of this machine, whatever their namespaces, are instances of each daemon."""
        found: dict[str, list[int]] = {name: [] for name in self._seconds}
        names = {seconds: name for name, seconds in self._seconds.items()}
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and int(entry) > 1:
                try:
                    words = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                # The runtime's init has the same words after its own.
                if words[0] == "/bin/sleep" and len(words) > 1 and words[1] in names:
                    found[names[words[1]]].append(int(entry))
        return found

    def _supervisor(self, name: str) -> Any:
        return self._lab.in_process.manager.find(name)

    def _handle(self, name: str) -> DaemonHandle | None:
        handle = self._supervisor(name).handle
        return handle if isinstance(handle, DaemonHandle) else None
