"""Taking back starts that were given up: their units go as soon as systemd answers, or says for certain that there are none."""

from __future__ import annotations

import asyncio

from duende.adapters.systemd import parse
from duende.adapters.systemd.asking import GONE
from duende.adapters.systemd.bus import PROPERTIES, UNIT, Refusal
from duende.adapters.systemd.exchange import Exchange
from duende.adapters.systemd.records import Record
from duende.errors import DuendeError

SWEEP_EVERY = 0.5
"""Seconds between looks for a unit that was perhaps made by a call that was given up."""
SWEEPS = 4
"""So many looks in a row that find nothing are needed: a message of a connection that was lost may arrive after those of the next."""
SWEEP_PATIENCE = 5.0
"""Seconds that closing the adapter waits for what is still to be removed; a bus that stays dead holds up nobody for longer."""
KILL = 9


class Sweeping(Exchange):
    """Removes what should not be there."""

    def _doom(self, record: Record) -> None:
        """Something may come of a start that nobody waits for any more: it is looked for until it is gone."""
        record.looks = 0
        self._doomed[record.unit] = record
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._spawn(self._sweep())

    async def _sweep(self) -> None:
        while self._doomed:
            await asyncio.sleep(SWEEP_EVERY)
            for unit, record in list(self._doomed.items()):
                try:
                    record.looks = record.looks + 1 if await self._take_back(record) else 0
                except (DuendeError, Refusal):
                    record.looks = 0  # systemd has not come back yet
                if record.looks >= SWEEPS and self._doomed.get(unit) is record:
                    del self._doomed[unit]

    async def _take_back(self, record: Record) -> bool:
        """End what came of that start; whether there was nothing (any more). Raises as `Bus.call` does.

        Only a unit that systemd has started since it was asked is touched: another of that name may be one that somebody adopts.
        """
        try:
            known = {
                name: parse.plain(value)
                for name, value in (await self.bus.call(record.path, PROPERTIES, "GetAll", "s", [UNIT]))[
                    0
                ].items()
            }
        except Refusal as refusal:
            if refusal.short in GONE:
                return True
            raise
        began = int(known.get("InactiveExitTimestampMonotonic", 0)) / 1e6
        if known.get("LoadState") == "not-found" or not known.get("Transient") or 0 < began < record.asked:
            return True
        holder = self._by_path.setdefault(record.path, record)
        try:
            await self.read(record)
            for member, signature, body in (("Kill", "si", ["all", KILL]), ("Stop", "s", ["replace"])):
                try:
                    await self.unit_call(record.path, member, signature, body)
                except Refusal as refusal:
                    if refusal.short not in GONE and refusal.short != "NoSuchProcess":
                        raise
            await record.until(lambda: record.state.gone or record.removed, self.timeout)
            await self.release(record)
        except Refusal as refusal:
            if refusal.short not in GONE:
                raise
        finally:
            if holder is record and self._by_path.get(record.path) is record:
                del self._by_path[record.path]
        return False

    async def _ended_sweeping(self) -> None:
        """Give what is still to be removed its time."""
        if self._sweeper is not None and not self._sweeper.done():
            await asyncio.wait([self._sweeper], timeout=SWEEP_PATIENCE)
