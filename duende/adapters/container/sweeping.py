"""Taking back what was begun: containers of calls that failed or were given up go, as soon as their runtime answers."""

from __future__ import annotations

import asyncio

from duende.adapters.container.engine import Engine
from duende.adapters.container.exchange import Exchange
from duende.adapters.container.plan import LABEL_ID
from duende.adapters.container.records import SWEEP_EVERY, SWEEPS, Doomed
from duende.errors import DuendeError, InstanceNotFoundError


class Sweeping(Exchange):
    """Removes what should not be there."""

    async def _discard(self, engine: Engine, container: str, daemon_id: str) -> bool:
        """Remove what is ours, by id or name; False where the runtime did not answer: then it is tried again until it does."""
        try:
            await self._remove_ours(engine, container, daemon_id)
        except InstanceNotFoundError:
            return True  # which is what was wanted
        except BaseException as error:
            # Also when whoever asked for it has given up.
            self._doom(engine, container, daemon_id)
            if not isinstance(error, DuendeError):
                raise
            return False
        return True

    def _doom(self, engine: Engine, container: str, daemon_id: str) -> None:
        self._doomed[container] = Doomed(engine, daemon_id)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._spawn_task(self._sweep())

    async def _remove_ours(self, engine: Engine, container: str, daemon_id: str) -> None:
        found = await engine.inspect(container)
        record = self._by_container.get(found.id)
        wanted = record is not None and record.exit is None
        if found.labels.get(LABEL_ID) == daemon_id and not wanted:
            await engine.remove(found.id, force=True)

    async def _sweep(self) -> None:
        """Remove what should not be there as soon as its runtime answers."""
        while self._doomed:
            await asyncio.sleep(SWEEP_EVERY)
            for container, doomed in list(self._doomed.items()):
                try:
                    await self._remove_ours(doomed.engine, container, doomed.daemon_id)
                except InstanceNotFoundError:
                    doomed.looks += 1
                    if doomed.looks < SWEEPS:
                        continue
                except DuendeError:
                    doomed.looks = 0
                    continue
                if self._doomed.get(container) is doomed:
                    del self._doomed[container]
