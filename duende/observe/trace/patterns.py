"""Habits of daemons that cost more than they give: tight loops, busy polling, contended locks, memory asked for and given back.

Each is looked for in the calls of one thread; all but the tight loop by rates within a second.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import msgspec

from duende.kernel.syscalls import ARM64, X86_64
from duende.observe.trace.call import Call, name_of

TIGHT = 1000
"""Calls of one kind in a row, by one thread, that are a tight loop (F046: from 1000 on, not at 999)."""
WINDOW_NS = 1_000_000_000
POLLS = 200
"""Polls a second that found nothing: with a timeout of 5 ms or less nobody waits, somebody spins."""
CHURN = 500
"""Mappings a second made and given back."""
CONTENDED, CONTENDED_SHARE = 100, 0.2
"""Waits for a lock in a second, and the share of that second they took together."""
KEPT = 200
"""Findings kept; those beyond are counted."""
WAITS = frozenset({0, 9, 6, 13})
"""Operations of futex(2) that wait: WAIT, WAIT_BITSET, LOCK_PI, LOCK_PI2."""
FUTEX_MASK = 0x7F
"""What is left of a futex's operation without PRIVATE and CLOCK_REALTIME."""

_TABLE = ARM64 if name_of(63) == "read" else X86_64
POLLING = frozenset(
    _TABLE[name]
    for name in "poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2 recvfrom recvmsg read accept accept4".split()  # noqa: SIM905
    if name in _TABLE
)
READING = frozenset(
    _TABLE[name] for name in ("recvfrom", "recvmsg", "read", "accept", "accept4") if name in _TABLE
)
MEMORY = frozenset(_TABLE[name] for name in ("mmap", "munmap", "brk", "mremap", "madvise") if name in _TABLE)
FUTEX = _TABLE["futex"]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A habit that was found."""

    kind: str
    """tight-loop, busy-polling, lock-contention or memory-churn."""
    tid: int
    call: str
    """The system call it is about."""
    count: int
    """Calls that make it up; of a loop that goes on, as many as there were when it was found."""
    at: float
    """When it was found, CLOCK_MONOTONIC in seconds."""
    advice: str


ADVICE = {
    "tight-loop": "ask once and keep the answer, or wait for an event",
    "busy-polling": "wait without a timeout, or with a longer one",
    "lock-contention": "hold the lock for less, or share less",
    "memory-churn": "keep the memory and use it again (MALLOC_TRIM_THRESHOLD_, a pool)",
}


class _Window:
    """What a thread did within the current second."""

    __slots__ = ("began", "blocked", "churn", "polls", "told", "waits")

    def __init__(self, began: int) -> None:
        self.began = began
        self.polls = self.churn = self.waits = self.blocked = 0
        self.told: set[str] = set()


class PatternFinder:
    """Looks at calls in the order in which they ended, and says what habits they show."""

    def __init__(self, tell: Callable[[Pattern], None] | None = None) -> None:
        """With *tell* to be called as soon as one is found."""
        self.found: list[Pattern] = []
        self.more = 0
        """Findings beyond those kept."""
        self._tell = tell
        self._runs: dict[int, list[int]] = {}
        self._windows: dict[int, _Window] = {}

    def add(self, call: Call) -> None:
        """Take one in."""
        self._run(call)
        number = call.number
        if number in POLLING or number in MEMORY or number == FUTEX:
            self._rates(call)

    def interrupt(self) -> None:
        """Calls were lost: what was a run may have been none."""
        self._runs.clear()

    def _run(self, call: Call) -> None:
        run = self._runs.get(call.tid)
        if run is None or run[0] != call.number:
            self._runs[call.tid] = [call.number, 1]
            return
        run[1] += 1
        if run[1] == TIGHT:
            self._note("tight-loop", call, TIGHT)

    def _rates(self, call: Call) -> None:
        end = call.at + call.duration
        window = self._windows.get(call.tid)
        if window is None or end - window.began > WINDOW_NS:
            window = self._windows[call.tid] = _Window(call.at)
        if call.number in MEMORY:
            window.churn += 1
            if window.churn >= CHURN:
                self._once(window, "memory-churn", call, window.churn)
        elif call.number == FUTEX:
            if call.second & FUTEX_MASK in WAITS and call.result != -errno.ETIMEDOUT:
                window.waits += 1
                window.blocked += call.duration
                if window.waits >= CONTENDED and window.blocked >= CONTENDED_SHARE * WINDOW_NS:
                    self._once(window, "lock-contention", call, window.waits)
        elif (call.result == 0 and call.number not in READING) or call.result == -errno.EAGAIN:
            window.polls += 1
            if window.polls >= POLLS:
                self._once(window, "busy-polling", call, window.polls)

    def _once(self, window: _Window, kind: str, call: Call, count: int) -> None:
        if kind not in window.told:
            window.told.add(kind)
            self._note(kind, call, count)

    def _note(self, kind: str, call: Call, count: int) -> None:
        if len(self.found) >= KEPT:
            self.more += 1
            return
        pattern = Pattern(
            kind=kind,
            tid=call.tid,
            call=name_of(call.number),
            count=count,
            at=(call.at + call.duration) / 1e9,
            advice=ADVICE[kind],
        )
        self.found.append(pattern)
        if self._tell is not None:
            self._tell(pattern)
