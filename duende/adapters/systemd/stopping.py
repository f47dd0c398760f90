"""Ending a unit, with the proof: nothing is in its control group, says systemd."""

from __future__ import annotations

import asyncio
import time

from duende.adapters.contract import StopCertificate, StopStep
from duende.adapters.systemd.asking import GONE
from duende.adapters.systemd.bus import Refusal
from duende.adapters.systemd.exchange import Exchange
from duende.adapters.systemd.records import Record
from duende.errors import PlatformError

TERM, KILL, CONT = 15, 9, 18
KILL_GRACE = 5.0
"""Seconds that the kernel may take to end what was killed."""


class Stopping:
    """One stop of one unit."""

    def __init__(self, exchange: Exchange, record: Record, timeout: float) -> None:
        self._exchange = exchange
        self._record = record
        self._began = time.monotonic()
        self._timeout = timeout
        self._steps: list[StopStep] = []
        self._stragglers: dict[int, str] = {}
        self._escalated = False

    async def run(self) -> StopCertificate:
        """TERM, deadline, KILL, proof; the unit is unloaded after."""
        try:
            await self._end()
            left = await self._exchange.processes(self._record)
            if not left:
                await self._exchange.release(self._record)
        except Refusal as refusal:
            if refusal.short in GONE:
                return self._certificate([], "systemd has no such unit any more")
            return self._unproven(str(self._exchange.bus.error_of(refusal)))
        except PlatformError as error:
            return self._unproven(str(error))
        if self._record.started and self._record.exit is None and not left:
            await self._record.until(lambda: self._record.exit is not None, self._exchange.timeout)
        if left:
            return self._certificate(
                left, "still in its control group: " + ", ".join(f"{pid} {name}" for pid, name in left[:5])
            )
        return self._certificate(
            [], f"systemd: {self._record.unit} is inactive and its control group is empty"
        )

    async def _end(self) -> None:
        record = self._record
        if not (record.state.ended or record.state.gone or record.removed):
            await self._ask_to_end()
            await record.until(
                lambda: record.state.ended or record.state.gone or record.removed, self._left()
            )
        if record.removed:
            return
        if record.state.ended or record.state.gone:
            await self._end_leftovers()
        if not self._quiet():
            await self._kill()

    async def _ask_to_end(self) -> None:
        record = self._record
        if record.delegated:
            # Only a stop job keeps systemd from starting it again.
            await self._exchange.unit_call(record.path, "Stop", "s", ["replace"])
            self._note(f"stop job for {record.unit} (TERM)")
            return
        pid = record.state.main_pid
        if await self._send("main", TERM):
            self._note(f"TERM to {pid}")
            await self._send("main", CONT)  # a paused process takes no TERM

    async def _end_leftovers(self) -> None:
        """What outlived the main process: TERM for all by a stop job, and systemd says when the group is empty."""
        record = self._record
        left = await self._exchange.processes(record)
        if not left:
            return
        for pid, name in left:
            self._stragglers[pid] = f"{pid} {name}"
        self._note("TERM to " + ", ".join(self._stragglers.values()))
        await self._exchange.unit_call(record.path, "Stop", "s", ["replace"])
        await self._send("all", CONT)
        await record.until(self._quiet, self._left())

    async def _kill(self) -> None:
        record = self._record
        self._escalated = True
        for pid, name in await self._exchange.processes(record):
            if pid != record.state.main_pid:
                self._stragglers.setdefault(pid, f"{pid} {name}")
        await self._send("all", KILL)
        self._note(f"KILL to the control group of {record.unit}")
        await record.until(lambda: record.state.ended or record.state.gone or record.removed, KILL_GRACE)
        if not self._quiet() and not record.removed:
            await self._exchange.unit_call(record.path, "Stop", "s", ["replace"])
            await record.until(self._quiet, KILL_GRACE)

    def _quiet(self) -> bool:
        record = self._record
        return (
            record.removed
            or record.state.sub in ("dead", "failed")
            or (record.state.sub == "exited" and not self._stragglers)
        )

    async def _send(self, whom: str, number: int) -> bool:
        """Send a signal to the main process or to all; whether there was somebody to get it."""
        try:
            await self._exchange.unit_call(self._record.path, "Kill", "si", [whom, number])
        except Refusal as refusal:
            if refusal.short not in GONE and refusal.short != "NoSuchProcess":
                raise
            return False
        return True

    def _left(self) -> float:
        return max(0.0, self._began + self._timeout - time.monotonic())

    def _note(self, what: str) -> None:
        self._steps.append(StopStep(time.monotonic() - self._began, what))

    def _certificate(self, left: list[tuple[int, str]], proof: str) -> StopCertificate:
        record = self._record
        return StopCertificate(
            name=record.name,
            steps=tuple(self._steps),
            escalated=self._escalated or (record.delegated and record.state.result == "timeout"),
            proven=not left,
            proof=proof,
            stragglers=tuple(self._stragglers.values()),
            blocked_by=tuple(f"{pid} {name}" for pid, name in left),
            exit=record.exit,
            duration=time.monotonic() - self._began,
        )

    def _unproven(self, why: str) -> StopCertificate:
        return StopCertificate(
            name=self._record.name,
            steps=tuple(self._steps),
            escalated=self._escalated,
            proven=False,
            proof=f"systemd did not say: {why}",
            exit=self._record.exit,
            duration=time.monotonic() - self._began,
        )


async def stop_shared(
    running: dict[str, asyncio.Task[StopCertificate]], key: str, stopping: Stopping
) -> StopCertificate:
    """One stop for all who ask for it meanwhile: a second is given the first one's certificate."""
    task = running.get(key)
    if task is None:
        task = running[key] = asyncio.create_task(stopping.run())
        task.add_done_callback(lambda _: running.pop(key, None))
    return await asyncio.shield(task)
