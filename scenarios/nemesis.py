"""Injects and heals faults, on a schedule or when called for; all of it is in the history, with the proof."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fixtures.lease import Reaper
from scenarios.faults.base import Fault, NoEffectError
from scenarios.history import History
from scenarios.schedule import Schedule

INJECT_WITHIN = 30.0
HEAL_WITHIN = 30.0


class Nemesis:
    """The one who does bad things, one at a time."""

    def __init__(self, history: History, reaper: Reaper) -> None:
        self._history = history
        self._reaper = reaper
        self._active: list[Fault] = []
        self._turn = asyncio.Lock()
        self.names: list[str] = []
        """Faults that took effect, in order."""
        self.finished = asyncio.Event()
        """The schedule is over, and all of it healed."""

    async def strike(self, fault: Fault, pick: int = 0) -> bool:
        """Inject one fault; whether it took effect."""
        async with self._turn:
            begun = self._history.invoke("nemesis", "inject", {"fault": fault.name, "pick": pick})
            self._active.append(fault)
            try:
                proof = await asyncio.wait_for(fault.inject(self._reaper, pick), INJECT_WITHIN)
            except NoEffectError as error:
                self._history.fail(begun, {"fault": fault.name, "why": str(error)})
                return False
            except (TimeoutError, OSError) as error:
                self._history.info(begun, {"fault": fault.name, "why": f"{type(error).__name__}: {error}"})
                return False
            self.names.append(fault.name)
            self._history.ok(begun, {"fault": fault.name, "proof": proof})
            return True

    async def heal(self, fault: Fault) -> None:
        """Heal one fault that was injected."""
        async with self._turn:
            if fault not in self._active:
                return
            self._active.remove(fault)
            begun = self._history.invoke("nemesis", "heal", {"fault": fault.name})
            try:
                done = await asyncio.wait_for(fault.heal(), HEAL_WITHIN)
            except (TimeoutError, OSError) as error:
                self._history.fail(begun, {"fault": fault.name, "why": f"{type(error).__name__}: {error}"})
            else:
                self._history.ok(begun, {"fault": fault.name, "done": done})

    async def heal_all(self) -> None:
        """Heal whatever is still injected, the latest first."""
        for fault in reversed(list(self._active)):
            await self.heal(fault)

    async def follow(self, schedule: Schedule, faults: Sequence[Fault]) -> None:
        """Strike by the schedule; a step whose fault is not offered is an error of the plan and said so."""
        offered = {fault.name: fault for fault in faults}
        loop = asyncio.get_running_loop()
        zero = loop.time()
        for step in schedule:
            await asyncio.sleep(max(0.0, zero + step.at - loop.time()))
            fault = offered[step.fault]
            if await self.strike(fault, step.pick):
                await asyncio.sleep(step.hold)
            await self.heal(fault)
        self.finished.set()
