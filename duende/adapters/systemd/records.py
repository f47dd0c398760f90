"""What the adapter remembers of one unit, and how a change of it becomes events: no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import lru_cache

from duende.adapters.contract import AdapterEvent, DaemonHandle, EventKind
from duende.adapters.systemd import parse
from duende.adapters.systemd.memory import MemoryWatch
from duende.adapters.systemd.parse import UnitState
from duende.states import ProcessExit

UNIT_ROOT = "/org/freedesktop/systemd1/unit/"


@lru_cache(maxsize=1024)
def unit_path(name: str) -> str:
    """The object of a unit: all but letters and digits as `_` and two hex digits (sd_bus_path_encode(3)); a first digit as well."""
    return UNIT_ROOT + "".join(
        char
        if (char.isascii() and char.isalpha()) or (char.isascii() and char.isdigit() and position)
        else f"_{ord(char):02x}"
        for position, char in enumerate(name)
    )


class Record:
    """One unit that this adapter started or adopted."""

    __slots__ = (
        "asked",
        "daemon_id",
        "delegated",
        "exit",
        "handle",
        "held",
        "host",
        "leftovers",
        "looks",
        "memory",
        "name",
        "notify",
        "path",
        "paused",
        "removed",
        "seen_pid",
        "seen_restarts",
        "seen_text",
        "started",
        "state",
        "told",
        "unit",
        "waiters",
        "watchers",
    )

    def __init__(self, daemon_id: str, name: str, unit: str, *, delegated: bool, notify: bool) -> None:
        self.daemon_id = daemon_id
        self.name = name
        self.unit = unit
        self.path = unit_path(unit)
        self.delegated = delegated
        self.notify = notify
        self.handle: DaemonHandle | None = None
        self.state = UnitState()
        self.exit: ProcessExit | None = None
        self.leftovers = False
        self.paused = False
        """STOP was sent from here, and no CONT since."""
        self.removed = False
        """systemd has unloaded the unit."""
        self.held = 0
        """The connection (`Bus.generation`) that took a reference to the unit, 0 for none."""
        self.host = (0, 0)
        """A process as systemd numbers it, and the number it has here, found while systemd was still waiting for its exec."""
        self.started = False
        """The start has been answered: what ends now is an exit and no failed start."""
        self.asked = 0.0
        """Monotonic time at which systemd was asked to start it; 0 while that was not done, or was refused."""
        self.looks = 0
        """Looks in a row that found nothing of a start that was given up."""
        self.memory: MemoryWatch | None = None
        """Where the kernel tells of kills for memory, and systemd does not."""
        self.told: set[tuple[str, str]] = set()
        """(kind, invocation) of events that come once for each start."""
        self.seen_pid = 0
        self.seen_restarts = 0
        self.seen_text = ""
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.watchers: list[asyncio.Future[None]] = []

    @property
    def invocation_path(self) -> str:
        """The object of this very start: systemd finds a unit by its invocation id too, and no other start ever has it."""
        return unit_path(self.state.invocation)

    async def until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for signals until *condition* holds; whether it did within *timeout* seconds."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while not condition():
            changed: asyncio.Future[None] = loop.create_future()
            self.watchers.append(changed)
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return condition()
            done, _ = await asyncio.wait([changed], timeout=left)
            if not done:
                return condition()
        return True

    def wake(self) -> None:
        """Something changed: whoever waits looks again."""
        watchers, self.watchers = self.watchers, []
        for future in watchers:
            if not future.done():
                future.set_result(None)

    def end(self, seen: ProcessExit, *, leftovers: bool) -> AdapterEvent:
        """Note the exit and tell those who wait; the event to report."""
        self.exit, self.leftovers = seen, leftovers
        self.watch_memory(None)
        for future in self.waiters:
            if not future.done():
                future.set_result(seen)
        self.waiters.clear()
        return AdapterEvent(
            daemon_id=self.daemon_id,
            kind=EventKind.EXITED,
            exit=seen,
            pid=self.handle.pid if self.handle is not None else 0,
            leftovers=leftovers,
            detail=_why(self.state),
        )

    def watch_memory(self, watch: MemoryWatch | None) -> None:
        """Listen there from now on, and no longer where it was."""
        if self.memory is not None:
            self.memory.close()
        self.memory = watch

    def once(self, kind: str) -> bool:
        """Whether an event of *kind* has not been told of this start; then it counts as told."""
        mark = (kind, self.state.invocation)
        if mark in self.told:
            return False
        self.told.add(mark)
        return True

    def events(self) -> Iterator[AdapterEvent]:
        """What the present state says that was not told before; the end comes apart (`over`, `end`)."""
        state = self.state
        if self.exit is not None or not self.started:
            return
        if state.text and state.text != self.seen_text:
            yield self._event(EventKind.STATUS, state.text)
        self.seen_text = state.text
        if state.restarts > self.seen_restarts and state.main_pid:
            self.seen_restarts = state.restarts
            self.seen_pid = state.main_pid
            self.paused = False
            yield self._event(EventKind.RESTARTED, f"restart {state.restarts} by systemd")
        if self.notify:
            yield from self._notified()
        if state.result == parse.OUT_OF_MEMORY and self.once("oom"):
            yield self._event(EventKind.OUT_OF_MEMORY, "systemd: Result=oom-kill")
        if state.result == "watchdog" and self.once("watchdog"):
            yield self._event(EventKind.ALERT, "it missed its watchdog (systemd: Result=watchdog)")

    @property
    def over(self) -> bool:
        """Whether this start has ended and nobody was told yet."""
        # The first signal of a start still says `dead`, with a main process: only an exit code or a failure is an end.
        ended = self.state.ended or self.state.sub == "failed"
        return self.started and self.exit is None and ended and (self.state.gone or not self.delegated)

    def _notified(self) -> Iterator[AdapterEvent]:
        sub = self.state.sub
        if sub == "running" and self.once("ready"):
            yield self._event(EventKind.READY)
        elif sub in ("reload", "reload-signal", "reload-notify") and self.once("reloading"):
            self.told.discard(("ready", self.state.invocation))
            yield self._event(EventKind.RELOADING)
        elif sub.startswith("stop-") and self.state.main_pid and self.once("stopping"):
            yield self._event(EventKind.STOPPING)
        if sub == "running":
            self.told.discard(("reloading", self.state.invocation))

    def _event(self, kind: EventKind, detail: str = "") -> AdapterEvent:
        return AdapterEvent(daemon_id=self.daemon_id, kind=kind, detail=detail, pid=self.state.main_pid)


def _why(state: UnitState) -> str:
    return (
        f"systemd: Result={state.result}"
        if state.result not in ("", "success", "exit-code", "signal")
        else ""
    )
