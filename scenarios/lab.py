"""What a workload drives. Every call is in the history: invoked, then ok, failed, or without an answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from duende.adapters.contract import PlatformAdapter
from duende.clock import SYSTEM_CLOCK, Clock
from fixtures.lease import Reaper
from scenarios import look
from scenarios.drivers import Driver, InProcess, OwnProcess, RefusedError, Table
from scenarios.history import History, observed
from scenarios.nemesis import Nemesis
from scenarios.platforms import Native, Platform
from scenarios.schedule import rng

ANSWER_WITHIN = 45.0
"""Seconds until an operation without an answer is given up.

Longer than any timeout that the workloads configure.
"""


class Lab:
    """One run: its folder, its history, its reaper, its nemesis and its manager."""

    def __init__(self, folder: Path, seed: int, reaper: Reaper, platform: Platform | None = None) -> None:
        self.folder = folder
        self.platform = platform or Native()
        """Where its daemons run."""
        self.seed = seed
        self.reaper = reaper
        self.history = History()
        self.nemesis = Nemesis(self.history, reaper)
        self.driver: Driver | None = None
        self._afterwards: list[Callable[[], Awaitable[None]]] = []

    def rng(self, purpose: str) -> random.Random:
        """Randomness of this run's seed for one *purpose*."""
        return rng(self.seed, purpose)

    # -- managers --------------------------------------------------------------------------------------------

    async def manager(
        self, *, adapter: PlatformAdapter | None = None, clock: Clock = SYSTEM_CLOCK, keep: bool = False
    ) -> InProcess:
        """A manager in this process, with the platform's adapter unless one is given."""
        adapter = adapter or self.platform.adapter(self.folder, keep=keep)
        driver = InProcess(self.folder, adapter=adapter, clock=clock, keep=keep)
        await driver.open(self._on_event)
        self.driver = driver
        return driver

    async def process(self, tables: list[Table], *, connect: bool = True) -> OwnProcess:
        """A manager in a process of its own that comes up with *tables*; without *connect* nobody waits for
        it.
        """
        driver = OwnProcess(self.folder, self.reaper, self.platform.environment)
        driver.write_fleet([self.addressed(table) for table in tables])
        if connect:
            await driver.open(self._on_event)
        else:
            await driver.begin()
        self.driver = driver
        return driver

    def marked(self, table: Table) -> Table:
        """The table for this platform, with the reaper's mark in the daemon's environment."""
        table = self.platform.table(table, self.folder)
        return {**table, "env": {**table.get("env", {}), **self.reaper.environment}}

    def addressed(self, table: Table) -> Table:
        """The marked table for a manager in a process of its own, which learns from it which adapter to use."""
        table = self.marked(table)
        if self.platform.asked_for is None:
            return table
        return {**table, "platform": {"adapter": self.platform.asked_for, **table.get("platform", {})}}

    def _on_event(self, happened: dict[str, Any]) -> None:
        self.history.observe("manager", "event", happened)

    # -- operations ------------------------------------------------------------------------------------------

    async def ask(self, op: str, *, by: str = "client", **fields: Any) -> Any:
        """One operation; its result, or None when it failed or nobody answered. The history has the rest."""
        if self.driver is None:
            raise RuntimeError("there is no manager")
        value = {"name": fields["name"]} if "name" in fields else {}
        return await self.record(by, op, value, self.driver.ask(op, **fields))

    async def record(self, by: str, f: str, value: dict[str, Any], work: Awaitable[Any]) -> Any:
        """Do *work* as the operation *f* of the process *by*."""
        begun = self.history.invoke(by, f, value)
        try:
            result = await asyncio.wait_for(work, ANSWER_WITHIN)
        except RefusedError as error:
            self.history.fail(begun, {**value, "error": error.kind, "message": error.message})
            return None
        except (TimeoutError, ConnectionError) as error:
            self.history.info(begun, {**value, "error": type(error).__name__, "message": str(error)})
            return None
        except Exception as error:  # noqa: BLE001 - an error that is no refusal is a finding
            self.history.fail(begun, {**value, "error": type(error).__name__, "message": str(error)})
            return None
        self.history.ok(begun, {**value, **result} if isinstance(result, dict) else result)
        return result

    async def register(self, table: Table, *, by: str = "client") -> Any:
        """Make a daemon known."""
        return await self.ask("register", by=by, name=table["name"], table=self.marked(table))

    async def start(self, name: str, *, by: str = "client") -> Any:
        """Start and wait until it runs."""
        return await self.ask("start", by=by, name=name)

    async def stop(self, name: str, *, by: str = "client") -> Any:
        """Stop; the certificate."""
        return await self.ask("stop", by=by, name=name)

    async def restart(self, name: str, *, by: str = "client") -> Any:
        """Restart."""
        return await self.ask("restart", by=by, name=name)

    async def status(self, name: str, *, by: str = "client") -> Any:
        """How one is."""
        return await self.ask("status", by=by, name=name)

    async def views(self, *, by: str = "client") -> Any:
        """How all are."""
        return await self.ask("list", by=by)

    async def signal(self, name: str, signal: str, *, by: str = "client") -> Any:
        """Send a signal."""
        return await self.ask("signal", by=by, name=name, signal=signal)

    # -- what comes after ------------------------------------------------------------------------------------

    def after(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* when this is closed, after its manager is; the latest first."""
        self._afterwards.append(work)

    @property
    def in_process(self) -> InProcess:
        """Its manager in this process.

        Raises:
            TypeError: it has none, or one elsewhere.
        """
        if not isinstance(self.driver, InProcess):
            raise TypeError(f"the manager is {self.driver!r}, and not in this process")
        return self.driver

    # -- for characters --------------------------------------------------------------------------------------

    async def begin(self, name: str, line: list[str]) -> int:
        """Register and start a character; its pid."""
        from scenarios.faults.base import NoEffectError
        from scenarios.tables import daemon

        await self.register(daemon(name, line, shutdown_timeout=0.5), by=name)
        view = await self.start(name, by=name)
        if not view:
            raise NoEffectError(f"{name} did not start")
        return int(view["pid"])

    async def end(self, name: str) -> None:
        """Stop a character and forget it."""
        await self.stop(name, by=name)
        await self.ask("unregister", by=name, name=name)

    # -- observations ----------------------------------------------------------------------------------------

    def observe(self, f: str, **value: Any) -> None:
        """Note what an observer saw."""
        self.history.observe("observer", f, value)

    def resources(self, pids: list[int]) -> None:
        """Note what these processes cost now."""
        self.observe(
            "resources",
            cpu_ms=look.cpu_ms(pids),
            descriptors=look.descriptors(pids),
            private_kib=look.private_kib(pids),
            processes=len(pids),
        )

    async def survivors(self, within: float = 0.0) -> list[int]:
        """Note which marked processes live; give them *within* seconds to be gone."""
        await look.until(lambda: not self.reaper.survivors(), within)
        pids = self.reaper.survivors()
        self.observe("survivors", pids=pids, lines=[look.command_line(pid)[-3:] for pid in pids])
        return pids

    def report(self, name: str) -> Path:
        """A file for a daemon's report."""
        return self.folder / f"{name}.report"

    def reported(self, name: str) -> list[dict[str, Any]]:
        """The lines of a report so far."""
        try:
            text = self.report(name).read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    async def until_reported(self, name: str, lines: int, within: float = 20.0) -> bool:
        """Wait until a report has that many lines; whether it has in time."""
        return await look.until(lambda: len(self.reported(name)) >= lines, within)

    async def until_event(self, name: str, kind: str, within: float = 20.0) -> bool:
        """Wait for an event of the manager; whether it came in time."""
        return await look.until(
            lambda: observed(self.history.operations, "event", name=name, kind=kind), within
        )

    async def close(self) -> None:
        """Close the manager, if there is one, and do what comes after."""
        try:
            if self.driver is not None:
                driver, self.driver = self.driver, None
                await driver.close()
        finally:
            while self._afterwards:
                await self._afterwards.pop()()
