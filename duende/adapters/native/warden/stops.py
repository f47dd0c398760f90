"""Ending a daemon: TERM, a deadline, KILL, and the proof that nothing is left.

The main process gets TERM first; what survives it gets TERM when it has ended (so a server can end its own workers), and at the deadline
everything gets KILL. The stop is over when no descendant is left, or when the kernel has not removed one `GRACE` after its KILL.
"""

from __future__ import annotations

from duende.adapters.native.warden.tree import descendants
from duende.kernel.process import Stat, read_stat, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TERM, KILL, CONT = 15, 9, 18
GRACE = 5.0
"""Seconds after KILL for the kernel to remove a process; what is still there then is blocked in the kernel (state D)."""
EARLY = 0.1
"""KILL goes out this share of the timeout before it ends, `EARLY_MOST` seconds at most: gone *by* the deadline is what was promised."""
EARLY_MOST = 0.1
LOOK_AGAIN = 0.02
"""Seconds between looks at survivors that are not our children and so send no SIGCHLD."""
DYING = 0.5
"""Seconds to wait for processes nobody can be named for: one that is just being removed has no environment left to tell whose it was."""


class Stop:
    """One stop under way."""

    __slots__ = (
        "_looked",
        "_nameless_since",
        "_request",
        "_steps",
        "_stragglers",
        "daemon_id",
        "deadline",
        "escalated",
        "killed_at",
        "pid",
        "started",
        "termed",
    )

    def __init__(self, request: int, daemon_id: str, pid: int, timeout: float, now: float) -> None:
        self._request = request
        self.daemon_id = daemon_id
        self.pid = pid
        """The main process, 0 once it has ended."""
        self.started = now
        self.deadline = now + timeout - min(timeout * EARLY, EARLY_MOST)
        self.killed_at: float | None = None
        self.escalated = False
        self.termed: set[tuple[int, int]] = set()
        self._looked = now
        self._nameless_since: float | None = None
        self._steps: list[tuple[float, str]] = []
        self._stragglers: dict[tuple[int, int], str] = {}

    def begin(self, now: float, *, asked: bool = False) -> None:
        """Ask the main process to end, unless it was *asked* just now. A paused one is continued, or TERM would wait for ever."""
        if self.pid and (asked or send_signal(self.pid, TERM)):
            send_signal(self.pid, CONT)
            self._note(now, f"TERM to {self.pid}")

    def wake_at(self) -> float:
        """When this stop wants to be looked at although nothing happened."""
        if self.killed_at is not None:
            return min(self.killed_at + GRACE, self._looked + LOOK_AGAIN)
        return min(self.deadline, self._looked + LOOK_AGAIN) if not self.pid else self.deadline

    def advance(self, now: float, survivors: list[Stat], unclaimed: list[Stat]) -> tuple[Any, ...] | None:
        """Do what is due; the certificate as a message once it is over.

        *survivors* are the strays of this daemon, *unclaimed* those nobody can be named for.
        """
        self._looked = now
        if not self.pid and not survivors:
            if unclaimed:
                self._nameless_since = self._nameless_since or now
                if now < self._nameless_since + DYING:
                    return None
            return self._certificate(now, [], unclaimed)
        family = descendants(survivors)
        if not self.pid:
            for stat in family:
                self._stragglers.setdefault((stat.pid, stat.start_time), f"{stat.pid} {stat.comm}")
        if self.killed_at is not None and now >= self.killed_at + GRACE:
            main = read_stat(self.pid) if self.pid else None
            return self._certificate(now, [*([main] if main else []), *family], unclaimed)
        if now >= self.deadline:
            self._kill(now, family)
        elif not self.pid:
            self._term(now, family)
        return None

    def _kill(self, now: float, family: list[Stat]) -> None:
        if self.killed_at is None:
            self.killed_at = now
        if self.pid and not self.escalated and send_signal(self.pid, KILL):
            self._note(now, f"KILL to {self.pid}")
        self.escalated = True
        for stat in family:
            if self._send(stat, KILL):
                # Also while the main process is not reaped yet: its children are ended here and now, and named.
                self._stragglers.setdefault((stat.pid, stat.start_time), f"{stat.pid} {stat.comm}")
                self._note(now, f"KILL to {stat.pid} {stat.comm}")

    def _term(self, now: float, family: list[Stat]) -> None:
        for stat in family:
            key = (stat.pid, stat.start_time)
            if key not in self.termed:
                self.termed.add(key)
                if self._send(stat, TERM):
                    send_signal(stat.pid, CONT)
                    self._note(now, f"TERM to {stat.pid} {stat.comm}")

    @staticmethod
    def _send(stat: Stat, number: int) -> bool:
        # A stray is our unreaped child, so its number cannot be taken over; a deeper one is looked at once more just before.
        again = read_stat(stat.pid)
        return again is not None and again.start_time == stat.start_time and send_signal(stat.pid, number)

    def _note(self, now: float, what: str) -> None:
        if len(self._steps) < 100:  # a fork storm must not make the certificate grow without bound
            self._steps.append((now - self.started, what))

    def _certificate(self, now: float, left: list[Stat], unclaimed: list[Stat]) -> tuple[Any, ...]:
        proven = not left and not unclaimed
        if left:
            proof = f"KILL was sent {GRACE:g} s ago and the kernel has not removed " + ", ".join(
                str(s) for s in left[:5]
            )
        elif unclaimed:
            proof = "processes of unknown origin are left: " + ", ".join(str(s) for s in unclaimed[:5])
        else:
            proof = "the subreaper has no descendant of it left"
        return (
            "stopped",
            self._request,
            self.daemon_id,
            self._steps,
            self.escalated,
            proven,
            proof,
            list(self._stragglers.values())[:50],
            [str(stat) for stat in left],
            now - self.started,
        )
