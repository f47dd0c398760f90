"""Ending a job, with the proof: launchd has no such job, and no process of it is left."""

from __future__ import annotations

import asyncio
import time

from duende.adapters.contract import StopCertificate, StopStep
from duende.adapters.launchd import processes
from duende.adapters.launchd.exchange import Exchange
from duende.adapters.launchd.parse import Trouble
from duende.adapters.launchd.processes import Kin
from duende.adapters.launchd.records import Record
from duende.errors import DuendeError, SignalFailedError
from duende.signals import Signal

KILL_GRACE = 5.0
"""Seconds that the kernel may take to end what was killed, and launchd to say so."""
LOOK_EVERY = 0.02


async def send(record: Record, signal: Signal) -> bool:
    """Have launchd send *signal*, by its number on macOS, to the job's process; False when there is none.

    Raises:
        SignalFailedError: launchd refused.
        PlatformError: launchctl did not answer.
    """
    answer = await record.launchctl.run("kill", str(signal.number("darwin")), record.target)
    if answer.ok:
        return True
    if answer.trouble in (Trouble.NO_PROCESS, Trouble.NO_SERVICE):
        return False
    raise SignalFailedError(f"cannot send {signal.value} to {record.handle.name!r}: launchctl: {answer.text}")


class Stopping:
    """One stop of one job."""

    def __init__(self, exchange: Exchange, record: Record, timeout: float) -> None:
        self._exchange = exchange
        self._record = record
        self._timeout = timeout
        self._began = time.monotonic()
        self._steps: list[StopStep] = []
        self._stragglers: dict[Kin, None] = {}
        self._escalated = False

    async def run(self) -> StopCertificate:
        """TERM, deadline, KILL, whatever escaped, and the proof."""
        record = self._record
        self._note_kin()
        try:
            if record.exit is None:
                await self._end()
        except DuendeError as error:
            self._note(f"launchd could not be told: {error}")
        if not await self._ended(0.0) and self._main() is not None:
            await self._kill_main()
        left = await self._end_kin()
        trouble = await self._exchange.unload(record)
        return self._certificate(left, trouble)

    async def _end(self) -> None:
        record = self._record
        if record.delegated:
            # Whatever ends in another way launchd starts again.
            answer = await record.launchctl.run("bootout", record.target)
            self._note(f"bootout of {record.target} (TERM)")
            if not answer.ok and answer.trouble not in (Trouble.NO_SERVICE, Trouble.IN_PROGRESS):
                self._note(f"launchctl: {answer.text}")
        elif await send(record, Signal.TERM):
            self._note(f"TERM to {record.handle.pid}")
            await send(record, Signal.CONT)  # a paused process takes no TERM
        if not await self._ended(self._timeout) and not record.delegated:
            self._note_kin()
            if await send(record, Signal.KILL):
                self._escalated = True
                self._note(f"KILL to {record.handle.pid}")
            await self._ended(KILL_GRACE)

    async def _kill_main(self) -> None:
        """Launchd did not end it, or is not there to do so."""
        main = self._main()
        self._note_kin()
        if main is not None and processes.kill(main):
            self._escalated = True
            self._note(f"KILL to {main.pid}")
        await self._ended(KILL_GRACE)

    async def _end_kin(self) -> list[Kin]:
        """KILL to all that is left of it; what cannot be ended."""
        handle = self._record.handle
        deadline = time.monotonic() + KILL_GRACE
        while left := self._left():
            for kin in left:
                if processes.kill(kin) and kin not in self._stragglers:
                    self._stragglers[kin] = None
                    self._note(f"KILL to {kin}")
            if time.monotonic() > deadline:
                return left
            await asyncio.sleep(LOOK_EVERY)
        self._escalated = self._escalated or any(kin.pid == handle.pid for kin in self._stragglers)
        return []

    def _left(self) -> list[Kin]:
        handle = self._record.handle
        found = dict.fromkeys(processes.family(handle.daemon_id, handle.pid, handle.start_time))
        found |= dict.fromkeys(kin for kin in self._record.kin if processes.lives(kin))
        return [kin for kin in found if (kin.pid, kin.born) != (handle.pid, handle.start_time)]

    def _note_kin(self) -> None:
        handle = self._record.handle
        self._record.kin |= dict.fromkeys(processes.descendants(handle.pid, handle.start_time))

    def _main(self) -> Kin | None:
        handle = self._record.handle
        main = Kin(handle.pid, handle.start_time, handle.name)
        return main if handle.start_time and processes.lives(main) else None

    async def _ended(self, patience: float) -> bool:
        """Whether its end was seen within *patience* seconds."""
        if self._record.exit is None and patience > 0:
            try:
                async with asyncio.timeout(patience):
                    await self._record.changed.wait()
            except TimeoutError:
                return self._record.exit is not None
        return self._record.exit is not None

    def _note(self, what: str) -> None:
        self._steps.append(StopStep(time.monotonic() - self._began, what))

    def _certificate(self, left: list[Kin], trouble: str) -> StopCertificate:
        record = self._record
        main = self._main()
        blocked = tuple(str(each) for each in ([main] if main is not None else []) + left)
        if blocked:
            proof = f"still there: {', '.join(blocked[:5])}"
        elif trouble:
            proof = f"its processes are gone, but launchd may start it again: {trouble}"
        else:
            proof = f"launchd has no job {record.target}; no process carries its mark, is of its session or came of it"
        return StopCertificate(
            name=record.handle.name,
            steps=tuple(self._steps),
            escalated=self._escalated,
            proven=not blocked and not trouble,
            proof=proof,
            stragglers=tuple(str(each) for each in self._stragglers),
            blocked_by=blocked,
            exit=record.exit if record.exit is not None and record.exit.known else None,
            duration=time.monotonic() - self._began,
        )
