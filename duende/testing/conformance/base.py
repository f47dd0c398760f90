"""What every conformance test stands on: how adapters are made, how daemons are written, and how failures read."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from duende.adapters.contract import (
    AdapterEvent,
    DaemonHandle,
    EventKind,
    PlatformAdapter,
    SpawnRequest,
    SupportsLogs,
)
from duende.config.model import DaemonConfig, RestartConfig, RestartPolicy
from duende.ids import DaemonId
from duende.states import Phase, ProcessExit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOK_EVERY = 0.02
"""Seconds between looks at what no event announces."""
NUMBERS = itertools.count(1)
MARK = f"conform-{os.getpid():x}-"
"""Every daemon of these tests has a name that begins so: on a platform that others use too, `leftovers` can tell which are ours."""
NEVER = RestartConfig(policy=RestartPolicy.NEVER)


class NonconformanceError(AssertionError):
    """The adapter does not do what the contract says."""


def check(holds: object, what: str) -> None:
    """Fail with *what* unless it *holds*.

    Raises:
        NonconformanceError: it does not.
    """
    if not holds:
        raise NonconformanceError(what)


class Events:
    """Everything an adapter reports, kept, and waited for."""

    def __init__(self, adapter: PlatformAdapter) -> None:
        self.all: list[AdapterEvent] = []
        self._more = asyncio.Event()
        adapter.subscribe(self._take)

    def _take(self, event: AdapterEvent) -> None:
        self.all.append(event)
        self._more.set()

    def of(self, handle: DaemonHandle, kind: EventKind) -> list[AdapterEvent]:
        """What was reported of that kind about that daemon."""
        return [each for each in self.all if each.daemon_id == handle.daemon_id and each.kind is kind]

    async def want(self, handle: DaemonHandle, kind: EventKind, within: float) -> AdapterEvent:
        """The first report of that kind, waited for.

        Raises:
            NonconformanceError: none came in time.
        """
        try:
            async with asyncio.timeout(within):
                while not (found := self.of(handle, kind)):
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            said = [each.kind.value for each in self.all if each.daemon_id == handle.daemon_id]
            raise NonconformanceError(
                f"no {kind.value!r} of {handle.name!r} within {within:g} s; reported: {said}"
            ) from None
        return found[0]


class ConformanceBase:
    """Subclass hooks. Only `make_adapter` must be written."""

    within: ClassVar[float] = 20.0
    """Seconds for anything the platform does by itself; a deadline for tests, not a claim."""
    shell: ClassVar[str] = "/bin/sh"
    """A POSIX shell, as the platform finds it."""
    daemon_class: ClassVar[str | None] = None
    """A `Daemon` class ("file.py:Class") that is ready at once and waits for shutdown; None where the platform has no Python."""
    common: Mapping[str, Any] = {}
    """Fields of every configuration: an image, for example."""

    async def make_adapter(self, *, keep: bool = False) -> PlatformAdapter:
        """A fresh adapter. Those made in one test share their folders, so that one adopts what another kept."""
        raise NotImplementedError

    async def make_other(self) -> PlatformAdapter:
        """An adapter as another program would make it while the first one is in use."""
        return await self.make_adapter(keep=True)

    def leftovers(self) -> list[str]:
        """What the platform still has of the daemons of a test that is over; looked at after each.

        Where others use the platform at the same time, only what has `MARK` in its name.
        """
        return []

    # -- helpers of the tests ------------------------------------------------------------------------------------------------

    def conduct(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one test in a loop of its own, then look for what it left.

        Raises:
            NonconformanceError: what the test found, or it did not end.
        """

        async def bounded() -> None:
            try:
                async with asyncio.timeout(6 * self.within):
                    await test()
            except TimeoutError as error:
                raise NonconformanceError(f"the test did not end within {6 * self.within:g} s") from error

        before = set(self.leftovers())
        asyncio.run(bounded())
        left = [each for each in self.leftovers() if each not in before]
        check(not left, f"left behind: {left}")

    @asynccontextmanager
    async def adapter(self, *, keep: bool = False, other: bool = False) -> AsyncIterator[PlatformAdapter]:
        """An adapter that is closed whatever happens."""
        made = await (self.make_other() if other else self.make_adapter(keep=keep))
        try:
            yield made
        finally:
            await made.close()

    def fresh_name(self, also: str = "") -> str:
        """A name that no daemon of any test has had."""
        return f"{MARK}{next(NUMBERS)}{also}"

    def configured(self, name: str = "", **fields: Any) -> DaemonConfig:
        """A configuration with `common` in it; without a *name* it gets one of its own, and so a log of its own."""
        return DaemonConfig(name=name or self.fresh_name(), **{"restart": NEVER, **self.common, **fields})

    def script(self, text: str, name: str = "", **fields: Any) -> DaemonConfig:
        """A daemon that is a shell script; never restarted unless *fields* say so."""
        return self.configured(name, **{"binary_path": self.shell, "args": ("-c", text), **fields})

    def waiter(self, traps: str = "trap 'exit 0' TERM", name: str = "", **fields: Any) -> DaemonConfig:
        """A script that sets its *traps* and waits; a shell looks at them between two sleeps."""
        return self.script(f"{traps}; echo set; while :; do sleep 0.05; done", name, **fields)

    async def launch(self, adapter: PlatformAdapter, config: DaemonConfig) -> DaemonHandle:
        """Start under a fresh id, as a manager does."""
        return await adapter.launch(SpawnRequest(daemon_id=str(DaemonId.new()), config=config))

    async def launch_set(self, adapter: PlatformAdapter, config: DaemonConfig) -> DaemonHandle:
        """Start a `waiter` and wait until its traps are set."""
        handle = await self.launch(adapter, config)
        await self.logged(adapter, handle, "set")
        return handle

    async def logged(self, adapter: PlatformAdapter, handle: DaemonHandle, line: str) -> list[str]:
        """The output, once it has that *line*. On platforms without logs a second must do."""
        if not isinstance(adapter, SupportsLogs):
            await asyncio.sleep(1.0)
            return []
        logs = adapter.logs
        lines: list[str] = await self.until(
            lambda: logs(handle, 1000), lambda lines: line in lines, f"the line {line!r} in its log"
        )
        return lines

    async def forget(self, adapter: PlatformAdapter, handle: DaemonHandle) -> None:
        """Have dropped what an adapter that keeps still has of a daemon that ended, as a manager does when it unregisters one."""
        drop = getattr(adapter, "forget", None)
        if drop is not None:
            drop([handle.daemon_id])

        async def left() -> list[str]:
            return [each for each in await asyncio.to_thread(self.leftovers) if handle.name in each]

        await self.until(left, lambda found: not found, f"nothing is kept of {handle.name!r}")

    async def until(
        self, ask: Callable[[], Coroutine[Any, Any, Any]], good: Callable[[Any], object], what: str
    ) -> Any:
        """Ask again and again until the answer is good.

        Raises:
            NonconformanceError: it was not, in time.
        """
        answer = None
        try:
            async with asyncio.timeout(self.within):
                while not good(answer := await ask()):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY)  # the platform has no event for it
        except TimeoutError:
            raise NonconformanceError(
                f"not within {self.within:g} s: {what}; the last answer was {answer!r}"
            ) from None
        return answer

    async def phase(self, adapter: PlatformAdapter, handle: DaemonHandle, wanted: Phase) -> None:
        """Wait until the platform says that phase."""
        await self.until(
            lambda: adapter.status(handle), lambda status: status.phase is wanted, f"status {wanted.value}"
        )

    async def ended(self, adapter: PlatformAdapter, handle: DaemonHandle) -> ProcessExit:
        """Wait for the end.

        Raises:
            NonconformanceError: it went on.
        """
        try:
            async with asyncio.timeout(self.within):
                return await adapter.wait(handle)
        except TimeoutError:
            raise NonconformanceError(f"{handle.name!r} has not ended within {self.within:g} s") from None
