"""Starting in batches: whatever asks to be started in one turn of the loop goes to the adapter in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from duende.adapters.contract import DaemonHandle, SupportsBatch
from duende.errors import DuendeError, StateError
from duende.supervisor import Supervisor


class BatchLauncher:
    """Gathers, launches, and answers each supervisor."""

    def __init__(
        self,
        spawn_task: Callable[[Coroutine[object, object, None]], None],
        record: Callable[[Iterable[str]], Awaitable[None]],
    ) -> None:
        self._spawn_task = spawn_task
        self._record = record
        self._queue: list[Supervisor] = []
        self._flushing = False

    def request_launch(self, supervisor: Supervisor) -> None:
        """Start *supervisor* with whatever else asks in this turn of the loop."""
        self._queue.append(supervisor)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        batch, self._queue = self._queue, []
        groups: dict[int, list[Supervisor]] = {}
        for supervisor in batch:
            groups.setdefault(id(supervisor.adapter), []).append(supervisor)
        for group in groups.values():
            self._spawn_task(self._launch(group))

    async def _launch(self, batch: list[Supervisor]) -> None:
        adapter = batch[0].adapter
        await self._record(supervisor.daemon_id for supervisor in batch)
        requests = [supervisor.request() for supervisor in batch]
        results: list[DaemonHandle | Exception] = []
        try:
            if isinstance(adapter, SupportsBatch):
                results = await adapter.launch_many(requests)
            else:
                answers = await asyncio.gather(
                    *(adapter.launch(each) for each in requests), return_exceptions=True
                )
                for answer in answers:
                    known = isinstance(answer, DaemonHandle | Exception)
                    results.append(answer if known else StateError(f"start interrupted: {answer!r}"))  # type: ignore[arg-type]
        except DuendeError as error:
            results = [error] * len(batch)
        for supervisor, result in zip(batch, results, strict=True):
            supervisor.launched(result)
