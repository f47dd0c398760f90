"""The warden's loop: one epoll, no threads, no polling while nothing happens.

Order of work on each turn: reports of midwives first (so that a pid is known before its exit is), then exits, then commands, then
deadlines, then one write to the owner.
"""

from __future__ import annotations

import errno
import os
import select
import time

from duende.adapters.native.warden import launch, wire, word
from duende.adapters.native.warden.helpers import Helpers
from duende.adapters.native.warden.midwives import Midwives
from duende.adapters.native.warden.stops import TERM, Stop
from duende.adapters.native.warden.tree import Strays
from duende.kernel import handlers
from duende.kernel.prctl import set_child_subreaper
from duende.kernel.process import Stat, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ORPHAN_TIMEOUT = 10.0
"""Seconds daemons get after TERM when their owner is gone and did not ask to keep them."""
READ_SIZE = 1 << 18
LOOK_AGAIN = 0.05
MANY = 64
"""Stops in one order from which on they are sent together first."""
DYING_EACH, DYING_MOST = 25e-6, 0.025
"""Seconds of processor that the kernel takes to end a process, and the longest pause for that: this process, which runs before all others,
would only hold up their end by reaping them one by one."""


class Warden:
    """Parent of the daemons of one adapter."""

    def __init__(self, owner: int, listener: int | None, *, keep: bool) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._owner: int | None = None
        self._listener = listener
        self._keep = keep
        self._inbox = wire.Inbox()
        self._outbox = bytearray()
        self._running: dict[int, str] = {}
        """pid of each living main process -> daemon id."""
        self._pids: dict[str, int] = {}
        """daemon id -> pid of its last main process, alive or not."""
        self._leaders: dict[int, str] = {}
        """pid -> daemon id, also of main processes that ended while something of them may be left."""
        self._midwives = Midwives(self)
        self._helper_pids: set[int] = set()
        self._unexplained: dict[int, tuple[Any, ...]] = {}
        """Exits seen before the report that names the pid."""
        self._missed: list[tuple[Any, ...]] = []
        """Exits that no owner has been told."""
        self._stops: dict[str, Stop] = {}
        self._ended: list[str] = []
        """Daemons whose main process ended in this turn."""
        self._exits: list[tuple[Any, ...]] = []
        self._look_at: float | None = None
        """When to look again at what is left of daemons, after the kernel had no descriptor for it."""
        self._leaving = False
        self._greet = False
        """Whether the owner waits for `hello`: it is told what runs when no start of an earlier owner is under way any more."""
        self._child_pending = True
        self._strays = Strays()
        self._helpers = Helpers(self)
        self._attach_owner(owner)
        if listener is not None:
            self.watch(listener, self._accept)

    # -- the loop ------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the owner is gone and no daemon is left."""
        waking, wakeup = os.pipe()
        for fd in (waking, wakeup):
            os.set_blocking(fd, False)
        handlers.wake(wakeup, handlers.SIGCHLD)
        # It ends with its owner, not with the owner's terminal.
        handlers.ignore(handlers.SIGINT, handlers.SIGTERM, handlers.SIGHUP)
        self.watch(waking, lambda: self._on_child(waking))
        set_child_subreaper()
        self._flush()
        while not self._finished():
            for fd, _ in self._epoll.poll(self._timeout()):
                self.ready(fd)
            if self._child_pending:
                self._child_pending = False
                self._reap()
            self._look_after_stops()
            self._welcome()
            self._flush()
            self._midwives.rest()
        if self._missed and self._listener is not None:
            word.leave(self._listener, self._missed)
        self._helpers.close()

    def watch(self, fd: int, reader: Callable[[], None]) -> None:
        """Call *reader* whenever *fd* can be read."""
        self._readers[fd] = reader
        self._epoll.register(fd, select.EPOLLIN)

    def ready(self, fd: int) -> None:
        """Call the reader of *fd*, if it still has one."""
        reader = self._readers.get(fd)
        if reader is not None:
            reader()

    def unwatch(self, fd: int) -> None:
        """Forget *fd*; the caller closes it after this."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def adopt_pid(self, pid: int, *, helper: bool) -> None:
        """Count *pid* among (or no longer among) the processes that are nobody's stray."""
        (self._helper_pids.add if helper else self._helper_pids.discard)(pid)
        (self._strays.know if helper else self._strays.forget)(pid)

    def tell(self, message: tuple[Any, ...]) -> None:
        """Queue a message for the owner."""
        self._outbox += wire.pack(message)

    def _finished(self) -> bool:
        if self._owner is not None:
            return False
        return not (self._running or self._stops or self._midwives.busy)

    def _timeout(self) -> float:
        times = [stop.wake_at() for stop in self._stops.values()]
        times += [at for at in (self._midwives.wake_at(), self._look_at) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else -1.0

    # -- owner ---------------------------------------------------------------------------------------------------------------

    def _attach_owner(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._owner = fd
        self._inbox = wire.Inbox()
        self.watch(fd, self._on_owner)
        self._greet = True
        self._welcome()

    def _welcome(self) -> None:
        if self._greet and self._owner is not None and not (self._midwives.busy or self._helpers.busy):
            self._greet = False
            missed, self._missed = self._missed, []
            self.tell(("hello", os.getpid(), dict(self._pids), dict(self._running), missed))

    def _accept(self) -> None:
        import socket  # only when a manager comes back, so that the first start does not wait for it

        if self._listener is None:
            return
        listener = socket.socket(fileno=self._listener)
        try:
            connection, _ = listener.accept()
        except OSError:  # the caller gave up between connect and accept
            return
        finally:
            listener.detach()
        if self._owner is not None:
            connection.close()  # one owner at a time; the second one is told by the closed connection
            return
        self._attach_owner(connection.detach())

    def _on_owner(self) -> None:
        owner = self._owner
        if owner is None:
            return
        try:
            data = os.read(owner, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose_owner()
            return
        for message in self._inbox.feed(data):
            self._obey(message)

    def _lose_owner(self) -> None:
        if self._owner is None:
            return
        self.unwatch(self._owner)
        os.close(self._owner)
        self._owner = None
        self._outbox.clear()
        # What is not begun yet nobody waits for any more: whoever comes next starts what it wants itself.
        self._midwives.queue.clear()
        self._helpers.drop_queues()
        if not self._keep or self._leaving:
            now = time.monotonic()
            for daemon_id in list(self._pids):
                if daemon_id not in self._stops:
                    self._begin_stop(0, daemon_id, ORPHAN_TIMEOUT, now)

    def _obey(self, message: tuple[Any, ...]) -> None:
        verb = message[0]
        if verb == "spawn":
            _, batch, settings, items = message
            self._midwives.begin(batch, settings, items)
        elif verb == "fork":
            self._helpers.fork(*message[1:])
        elif verb == "signal":
            _, request, wanted = message
            self.tell(
                ("signalled", request, [self._signal(daemon_id, number) for daemon_id, number in wanted])
            )
        elif verb == "stop":
            self._stop_all(*message[1:])
        elif verb == "forget":
            for daemon_id in message[1]:
                self._forget(daemon_id)
        elif verb == "log":
            self._helpers.log(message[1:])
        elif verb == "drain":
            _, request, daemon_id = message
            self._helpers.after_output(daemon_id, ("drained", request))
        elif verb == "warm":
            self._helpers.warm(*message[1:])
        elif verb == "leave":
            self._keep = bool(message[1])
            self._leaving = not self._keep
            self._lose_owner()

    def _flush(self) -> None:
        if self._exits and self._look_at is None:
            if self._owner is None or self._greet:
                self._missed.extend(self._exits)
            else:
                self.tell(("exits", self._exits))
            self._exits = []
        if self._outbox and self._owner is not None:
            os.set_blocking(self._owner, True)
            try:
                launch.write_all(self._owner, bytes(self._outbox))
            except OSError:
                self._outbox.clear()
                self._lose_owner()
                return
            os.set_blocking(self._owner, False)
            self._outbox.clear()

    # -- starting ------------------------------------------------------------------------------------------------------------

    def register(self, batch: int, report: list[tuple[Any, ...]]) -> None:
        """Take the report of a batch: from now on these pids are main processes."""
        for entry in report:
            daemon_id, pid = entry[0], entry[1]
            if pid:
                self._pids[daemon_id] = pid
                self._running[pid] = daemon_id
                self._strays.know(pid)
                self._leaders[pid] = daemon_id
        self.tell(("spawned", batch, report))
        for entry in report:
            if entry[1] in self._unexplained:
                self._ended_leader(entry[1], self._unexplained.pop(entry[1]))
            elif (
                entry[1] and self._owner is None and not self._keep
            ):  # its owner went while it was being born
                self._begin_stop(0, entry[0], ORPHAN_TIMEOUT, time.monotonic())

    # -- ends ----------------------------------------------------------------------------------------------------------------

    def _on_child(self, waking: int) -> None:
        try:
            while os.read(waking, 4096):
                pass
        except BlockingIOError:
            pass  # drained
        self._child_pending = True

    def _reap(self) -> None:
        # Reports first: a main process may have ended before its midwife's report was read.
        self._midwives.read_reports()
        self._helpers.read_reports()
        while True:
            try:
                result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                break
            if result is None:
                break
            pid = result.si_pid
            how = (
                result.si_code == 1,
                result.si_status,
                result.si_code == 3,
                time.monotonic(),
            )  # CLD_EXITED, CLD_DUMPED
            if pid in self._running:
                self._ended_leader(pid, how)
            elif pid in self._helper_pids:
                self.adopt_pid(pid, helper=False)
                self._midwives.died(pid)
                self._helpers.died(pid)
            elif self._midwives.at_work or self._helpers.busy:
                self._unexplained[pid] = how
        if not self._midwives.at_work and not self._helpers.busy:
            self._unexplained.clear()

    def _ended_leader(self, pid: int, how: tuple[Any, ...]) -> None:
        exited, status, dumped, at = how
        daemon_id = self._running.pop(pid)
        self._strays.forget(pid)
        self._ended.append(daemon_id)
        self._exits.append(
            (daemon_id, pid, status if exited else None, None if exited else status, dumped, at)
        )
        stop = self._stops.get(daemon_id)
        if stop is not None:
            stop.pid = 0

    def _look_after_stops(self) -> None:
        if not self._ended and not self._stops:
            self._look_at = None
            return
        now = time.monotonic()
        due = [s for s in self._stops.values() if not s.pid or now >= s.wake_at()]
        if not self._ended and not due:
            return
        try:
            strays = self._strays.look(self._leaders, self._ended)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._look_at = now + LOOK_AGAIN  # no descriptor for /proc: nothing is told before it is known
            return
        self._look_at = None
        unclaimed: list[Stat] = strays.get("", [])
        left = {daemon_id for daemon_id in self._ended if strays.get(daemon_id)}
        self._exits = [entry if len(entry) > 6 else (*entry, entry[0] in left) for entry in self._exits]
        for daemon_id in self._ended:
            if not strays.get(daemon_id) and not unclaimed:
                self._leaders.pop(self._pids.get(daemon_id, 0), None)
        self._ended = []
        for stop in due:
            message = stop.advance(now, strays.get(stop.daemon_id, []), unclaimed)
            if message is not None:
                del self._stops[stop.daemon_id]
                self._leaders.pop(self._pids.get(stop.daemon_id, 0), None)
                self._helpers.settle(stop.daemon_id, message)

    def _stop_all(self, request: int, wanted: list[tuple[str, float]]) -> None:
        now, asked = time.monotonic(), set()
        if len(wanted) >= MANY:  # all of them end while the first of them is looked after
            for daemon_id, _ in wanted:
                pid = self._pids.get(daemon_id, 0)
                if daemon_id not in self._stops and self._running.get(pid) == daemon_id:
                    send_signal(pid, TERM)
                    asked.add(daemon_id)
        for daemon_id, timeout in wanted:
            self._begin_stop(request, daemon_id, timeout, now, asked=daemon_id in asked)
        if len(wanted) >= MANY:
            time.sleep(min(DYING_EACH * len(wanted), DYING_MOST))

    def _begin_stop(
        self, request: int, daemon_id: str, timeout: float, now: float, *, asked: bool = False
    ) -> None:
        pid = self._pids.get(daemon_id, 0)
        if self._running.get(pid) != daemon_id:
            pid = 0
        running = self._stops.get(daemon_id)
        if running is not None:
            running.deadline = min(running.deadline, now + timeout)
            return
        stop = self._stops[daemon_id] = Stop(request, daemon_id, pid, timeout, now)
        stop.begin(now, asked=asked)

    def _signal(self, daemon_id: str, number: int) -> int:
        """0 sent, -1 gone, else errno. The process is our unreaped child, so its number cannot have been taken over."""
        pid = self._pids.get(daemon_id, 0)
        if self._running.get(pid) != daemon_id:
            return -1
        try:
            return 0 if send_signal(pid, number) else -1
        except OSError as error:
            return error.errno or 1

    def _forget(self, daemon_id: str) -> None:
        pid = self._pids.get(daemon_id, 0)
        if self._running.get(pid) != daemon_id:
            self._pids.pop(daemon_id, None)
            self._leaders.pop(pid, None)
