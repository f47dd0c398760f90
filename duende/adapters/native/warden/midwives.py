"""The short-lived processes that start programs: at work, queued for, and one that waits for the next restart.

Forking a midwife takes most of the time of a single restart. After a small batch one is therefore forked ahead, when nothing else is to
be done, and kept for a while.
"""

from __future__ import annotations

import os
import time

from duende.adapters.native.warden import launch, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from duende.adapters.native.warden.main import Warden

PARALLEL = max(2, os.cpu_count() or 1)
SMALL = 4
"""A batch of at most that many programs is a restart, and where one daemon fails the next failure is near."""
RIGHTS = frozenset(("uid", "gid", "groups", "mounts"))
"""Settings that give up rights which opening a daemon's output needs, or hide where it is: they are applied after it."""
SPARE_FOR = 30.0
"""Seconds a spare midwife waits for work before it is let go: it holds some memory."""


class Midwives:
    """Starts the batches of one warden."""

    __slots__ = (
        "_applied",
        "_last",
        "_spare",
        "_spare_until",
        "_spare_wanted",
        "_warden",
        "_working",
        "queue",
    )

    def __init__(self, warden: Warden) -> None:
        self._warden = warden
        self._working: dict[int, wire.Inbox] = {}
        """By the descriptor its report comes from."""
        self.queue: list[tuple[int, dict[str, Any], list[Any]]] = []
        self._spare: tuple[int, int, int] | None = None
        """pid, where orders go, where the report comes from."""
        self._applied: dict[str, Any] | None = None
        """What the spare has applied ahead: the settings of the last two small batches, where they are the same and keep its rights."""
        self._last: list[dict[str, Any] | None] = [None, None]
        self._spare_until = 0.0
        self._spare_wanted = False

    @property
    def busy(self) -> bool:
        """Whether a batch is at work or queued."""
        return bool(self._working or self.queue)

    @property
    def at_work(self) -> bool:
        """Whether a report is still to come."""
        return bool(self._working)

    def begin(self, batch: int, settings: dict[str, Any], items: list[Any]) -> None:
        """Start *items*, now or when a midwife is free."""
        self.queue.append((batch, settings, items))
        self._start()

    def wake_at(self) -> float | None:
        """When the spare is to be let go."""
        return self._spare_until if self._spare is not None else None

    def rest(self) -> None:
        """Called when all that happened is dealt with: fork the spare, or let an old one go."""
        if self._spare is not None and time.monotonic() >= self._spare_until:
            self._drop_spare()
        if self._spare_wanted and self._spare is None and not self.busy:
            self._spare_wanted = False
            earlier, latest = self._last
            same = latest is not None and earlier == latest and not RIGHTS.intersection(latest)
            self._applied = latest if same else None
            try:
                self._spare = launch.start_spare(self._applied)
            except OSError:
                return  # none to be had: the next start forks its own, or says why it cannot
            self._spare_until = time.monotonic() + SPARE_FOR
            self._warden.adopt_pid(self._spare[0], helper=True)

    def died(self, pid: int) -> None:
        """A helper process was reaped: perhaps the spare, killed by somebody."""
        if self._spare is not None and self._spare[0] == pid:
            self._drop_spare()

    def read_reports(self) -> None:
        """Take what is reported by now."""
        import select

        for fd in list(self._working):
            if select.select([fd], [], [], 0)[0]:
                self._warden.ready(fd)

    def _start(self) -> None:
        while self.queue and len(self._working) < PARALLEL:
            batch, settings, items = self.queue.pop(0)
            if "grouped" in settings or "confine" in settings:
                launch.load_confined(settings)
            head, rest = items[: launch.BATCH], items[launch.BATCH :]
            if rest:
                self.queue.insert(0, (batch, settings, rest))
            small = len(head) <= SMALL
            report = self._order(batch, settings, head) if small else None
            if report is None:
                try:
                    pid, report = launch.start_midwife(batch, settings, head)
                except OSError as error:
                    lost = [(item[0], 0, error.errno or 0, "fork", "") for item in head]
                    self._warden.tell(("spawned", batch, lost))
                    continue
                self._warden.adopt_pid(pid, helper=True)
            self._spare_wanted = self._spare_wanted or small
            if small:
                self._last = [self._last[1], settings]
            self._working[report] = wire.Inbox()
            self._warden.watch(report, self._reader_of(report, batch, head))

    def _order(self, batch: int, settings: dict[str, Any], items: list[Any]) -> int | None:
        """Give the batch to the spare; where its report comes from, None when there is none."""
        if self._spare is None:
            return None
        if self._applied is not None and self._applied != settings:
            self._drop_spare()
            return None
        _, orders, report = self._spare
        self._spare = None
        try:
            launch.write_all(
                orders, wire.pack((batch, None if self._applied is not None else settings, items))
            )
        except OSError:  # it died just now, before it began anything
            os.close(report)
            return None
        finally:
            os.close(orders)
        return report

    def _drop_spare(self) -> None:
        if self._spare is not None:
            _, orders, report = self._spare
            self._spare = None
            os.close(orders)
            os.close(report)

    def _reader_of(self, fd: int, batch: int, waiting: list[Any]) -> Callable[[], None]:
        return lambda: self._on_report(fd, batch, waiting)

    def _on_report(self, fd: int, batch: int, waiting: list[Any]) -> None:
        data = os.read(fd, 1 << 18)
        if data:
            for _, number, report in self._working[fd].feed(data):
                waiting.clear()
                self._warden.register(number, report)
            return
        self._warden.unwatch(fd)
        os.close(fd)
        del self._working[fd]
        if waiting:  # it died without a word: killed for memory, most likely
            lost = [(item[0], 0, 12, "fork", "its starter died") for item in waiting]
            self._warden.tell(("spawned", batch, lost))
        self._start()
