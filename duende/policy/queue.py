"""Bounded queue: it never holds more than its limit. What does not fit waits, is refused, or pushes something else out.

Producers and consumers may be threads and event loops, several of each.
"""

from __future__ import annotations

import asyncio
import enum
import math
import threading
from collections import deque
from typing import Generic, NamedTuple, TypeVar

from duende.clock import SYSTEM_CLOCK, Clock
from duende.errors import ConfigError, QueueFullError

T = TypeVar("T")


class Shed(enum.Enum):
    """What goes when the queue is full."""

    REJECT_NEWEST = "reject-newest"
    """The one that comes: its producer is told."""
    DROP_OLDEST = "drop-oldest"
    """The one that waited longest."""
    DROP_LOWEST = "drop-lowest"
    """The one of lowest priority, the newest of these; the one that comes where none is lower."""


class QueueCounts(NamedTuple):
    """What became of everything that was offered. accepted = taken + dropped + expired + what waits now."""

    accepted: int
    rejected: int
    taken: int
    dropped: int
    expired: int
    high_water: int
    """The longest it ever was."""


_Entry = tuple[T, int, float]
"""The item, its number among all that came, and when it expires. A plain tuple: one with names takes four times as long to make."""


class BoundedQueue(Generic[T]):
    """A queue of at most `limit` items. Higher priorities are taken first, equals in the order in which they came."""

    __slots__ = (
        "_accepted",
        "_dropped",
        "_enter",
        "_expired",
        "_getters",
        "_high",
        "_leave",
        "_levels",
        "_lock",
        "_now",
        "_putters",
        "_rejected",
        "_size",
        "_taken",
        "limit",
        "name",
        "shed",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        *,
        shed: Shed = Shed.REJECT_NEWEST,
        name: str = "queue",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """An empty queue.

        Raises:
            ConfigError: the limit is below 1.
        """
        self.name = name
        self._lock = threading.Lock()
        self._enter, self._leave = self._lock.acquire, self._lock.release
        self._now = clock.monotonic
        self._levels: dict[int, deque[_Entry[T]]] = {0: deque()}
        """Priority -> those that wait; kept in falling order of priority."""
        self._size = 0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()
        self._accepted = self._rejected = self._taken = self._dropped = self._expired = self._high = 0
        self.configure(limit=limit, shed=shed)

    def configure(self, *, limit: int, shed: Shed) -> None:
        """Change limit and rule of a queue in use. What waits already is kept, also beyond a lower limit.

        Raises:
            ConfigError: the limit is below 1; nothing is changed then.
        """
        if limit < 1:
            raise ConfigError(
                f"limit = {limit!r} of queue {self.name!r}", remedy="use 1 or more", key="limit"
            )
        with self._lock:
            self.limit = limit
            self.shed = shed
            while self._putters and self._size < limit and self._wake(self._putters):
                pass

    def __len__(self) -> int:
        return self._size

    @property
    def counts(self) -> QueueCounts:
        """What became of everything so far."""
        with self._lock:
            return QueueCounts(
                self._accepted, self._rejected, self._taken, self._dropped, self._expired, self._high
            )

    # -- in ------------------------------------------------------------------------------------------------------------------

    def offer(self, item: T, *, priority: int = 0, within: float | None = None) -> None:
        """Put *item* in without waiting. With *within* it is worth nothing after so many seconds, and is then dropped instead of taken.

        Raises:
            QueueFullError: it does not fit, and by the rule nothing else goes for it.
        """
        self._enter()  # half the time that `with` takes for a lock
        try:
            if self._size >= self.limit and not self._make_room(priority):
                self._rejected += 1
                raise QueueFullError(self.name, self.limit)
            if within is not None or priority not in self._levels or self._getters:
                self._insert(item, priority, within)
                return
            self._levels[priority].append((item, self._accepted, math.inf))  # `_insert` without its calls
            self._accepted += 1
            self._size += 1
            if self._size > self._high:
                self._high = self._size
        finally:
            self._leave()

    async def put(self, item: T, *, priority: int = 0, within: float | None = None) -> None:
        """Put *item* in, waiting for room: backpressure. Those who wait get in in their order."""
        waited = False
        while True:
            with self._lock:
                # Room that was made for somebody who waits is not for those who come later.
                if self._size < self.limit and (waited or not self._putters):
                    self._insert(item, priority, within)
                    return
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                (self._putters.appendleft if waited else self._putters.append)(turn)
            await self._wait(turn, self._putters)
            waited = True

    # -- out -----------------------------------------------------------------------------------------------------------------

    def poll(self) -> T | None:
        """Take the next item, None where there is none."""
        self._enter()
        try:
            if not self._size:
                return None
            entry = self._take()
        finally:
            self._leave()
        return None if entry is None else entry[0]

    async def get(self) -> T:
        """Take the next item, waiting for one."""
        while True:
            with self._lock:
                entry = self._take()
                if entry is not None:
                    return entry[0]
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._getters.append(turn)
            await self._wait(turn, self._getters)

    # -- below: with the lock held, but for _wait ----------------------------------------------------------------------------

    async def _wait(self, turn: asyncio.Future[None], among: deque[asyncio.Future[None]]) -> None:
        try:
            await turn
        except BaseException:
            with self._lock:
                if turn.done() and not turn.cancelled():
                    self._wake(among)  # the turn was ours and we leave: it is the next one's
                elif turn in among:
                    among.remove(turn)
                else:
                    self._wake(among)  # it was on its way to us
            raise

    def _wake(self, among: deque[asyncio.Future[None]]) -> bool:
        """Give the next of *among* its turn, in its own loop; whether there was one."""
        while among:
            turn = among.popleft()
            loop = turn.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, turn)
                return True
        return False

    def _insert(self, item: T, priority: int, within: float | None) -> None:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = deque()
            self._levels = dict(sorted(self._levels.items(), reverse=True))
        level.append((item, self._accepted, math.inf if within is None else self._now() + within))
        self._size += 1
        self._accepted += 1
        if self._size > self._high:
            self._high = self._size
        if self._getters:
            self._wake(self._getters)

    def _take(self) -> _Entry[T] | None:
        while self._size:
            for level in self._levels.values():
                if level:
                    entry = level.popleft()
                    break
            else:
                raise AssertionError(f"{self._size} items wait, and none is found")
            self._size -= 1
            if self._putters:
                self._wake(self._putters)
            if entry[2] != math.inf and entry[2] <= self._now():
                self._expired += 1
                continue
            self._taken += 1
            return entry
        return None

    def _make_room(self, priority: int) -> bool:
        """Whether one may come in now: what has expired goes first, then what the rule says."""
        if self._purge():
            return True
        if self.shed is Shed.REJECT_NEWEST:
            return False
        if self.shed is Shed.DROP_LOWEST:
            lowest = next(number for number in reversed(self._levels) if self._levels[number])
            if lowest >= priority:
                return False
            self._levels[lowest].pop()
        else:
            waiting = [level for level in self._levels.values() if level]
            min(waiting, key=lambda level: level[0][1]).popleft()  # each is in the order of coming
        self._size -= 1
        self._dropped += 1
        return True

    def _purge(self) -> bool:
        now, before = self._now(), self._size
        for number, level in self._levels.items():
            if any(entry[2] <= now for entry in level):
                self._levels[number] = deque(entry for entry in level if entry[2] > now)
        self._size = sum(map(len, self._levels.values()))
        self._expired += before - self._size
        return self._size < self.limit


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
