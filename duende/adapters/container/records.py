"""What the adapter remembers of each daemon, and its bounds on time."""

from __future__ import annotations

import asyncio

from duende.adapters.container.engine import Engine, State
from duende.adapters.container.watching import Watch
from duende.adapters.contract import DaemonHandle, StopCertificate
from duende.states import ProcessExit

TIMEOUT = 10.0
"""Seconds for one call to a runtime."""
SETTLE = 5.0
"""Seconds for a runtime to report an end that the kernel has shown already; then the kernel's word is all there is."""
SETTLE_MISSED = 1.0
"""The same for a runtime that says that it runs, where the kernel says not only that it has ended but how."""
SETTLE_EVERY = 0.05
KILL_GRACE = 10.0
"""Seconds from KILL until nothing is left: the kernel, the shim and the runtime each take part."""
RECONNECT_FIRST = 0.1
RECONNECT_MAX = 5.0
"""Seconds between tries to reach a runtime that went away, at first and at most."""
SWEEP_EVERY = 0.5
"""Seconds between looks for a container that was perhaps made by a call that was given up."""
SWEEPS = 4
"""So many looks in a row that find nothing are needed: a runtime that hung takes up what was asked of it meanwhile in any order."""
SWEEP_PATIENCE = 5.0
"""Seconds that closing the adapter waits for what is still to be removed; a runtime that stays dead holds up nobody for longer."""
STARTS_AT_ONCE = 16
"""Containers made and started side by side; a runtime with more to do at once gets slower for all of them."""


class Doomed:
    """A container that may have been made by a call whose answer nobody waited for."""

    __slots__ = ("daemon_id", "engine", "looks")

    def __init__(self, engine: Engine, daemon_id: str) -> None:
        self.engine = engine
        self.daemon_id = daemon_id
        self.looks = 0
        """Looks in a row that found nothing."""


class Listener:
    """The stream of events of one runtime."""

    __slots__ = ("connected", "task", "wanted")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        """It is there."""
        self.wanted = asyncio.Event()
        """Somebody waits for it, and not for the next try."""

    async def asked_for(self, delay: float) -> bool:
        """Wait *delay* seconds before the next try, or until somebody wants it; whether somebody did."""
        try:
            async with asyncio.timeout(delay):
                await self.wanted.wait()
        except TimeoutError:
            return False
        self.wanted.clear()
        return True


class Record:
    """One daemon that was started or adopted here."""

    __slots__ = (
        "delegated",
        "doubted_until",
        "engine",
        "exit",
        "handle",
        "health",
        "ill",
        "init",
        "looking",
        "memory_told",
        "nudge",
        "paused",
        "pauses",
        "sent",
        "settling",
        "stopping",
        "waiters",
        "watch",
    )  # fmt: skip

    def __init__(
        self, handle: DaemonHandle, engine: Engine, watch: Watch | None, *, delegated: bool, init: bool
    ) -> None:
        self.handle = handle
        self.engine = engine
        self.watch = watch
        """None where its processes are not on this host."""
        self.delegated = delegated
        """The runtime restarts it by itself."""
        self.init = init
        self.exit: ProcessExit | None = None
        self.sent: frozenset[int] = frozenset()
        """Signals that went to it from here."""
        self.paused = False
        self.pauses = 0
        """Times that it was to be paused or resumed from here."""
        self.health: asyncio.Task[None] | None = None
        """Where the runtime checks nothing by itself."""
        self.looking: asyncio.Task[None] | None = None
        """Where the kernel tells nothing of it."""
        self.doubted_until = 0.0
        """Until when (monotonic) a failed verdict may be about a pause that is over."""
        self.ill = False
        """The runtime found it unhealthy while it was paused: a verdict that waits."""
        self.memory_told = False
        self.waiters: list[asyncio.Future[ProcessExit]] = []
        self.nudge = asyncio.Event()
        """Something happened to it: look again."""
        self.settling: asyncio.Task[None] | None = None
        self.stopping: asyncio.Task[StopCertificate] | None = None

    def missed(self, state: State) -> bool:
        """Whether the runtime has missed the end: it says that it runs, as the very process 1 that the kernel says is dead.

        Docker 20.10.24 never hears of what ends while it is not connected to its containerd; to one that came back it connects
        up to two seconds later.
        """
        watch = self.watch
        claimed = state.alive and not state.restarting and watch is not None and state.pid == watch.first
        return claimed and watch is not None and watch.over()

    def release(self) -> None:
        """Let go of its processes."""
        for task in (self.health, self.looking):
            if task is not None:
                task.cancel()
        self.health = self.looking = None
        if self.watch is not None:
            self.watch.close()
