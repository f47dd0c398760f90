"""The warden's own helpers: preloaded interpreters, one for each Python that daemons ask for, and the keeper of logs.

Both are started on first use, and started again when they die; what they held is named so that nothing waits for ever.
"""

from __future__ import annotations

import os

from duende.adapters.native.warden import launch, wire
from duende.kernel import handlers
from duende.kernel.process import RESET_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from duende.adapters.native.warden.main import Warden

PART = 16
"""Python daemons forked for one report."""
RECORD = 200_000
"""Largest record on a sequenced-packet socket: below the default send buffer (net.core.wmem_default, 212992)."""
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from duende.adapters.native.warden.preload import main; main(3)"


class Preloaded:
    """One preloaded interpreter and the batches it has not answered."""

    __slots__ = ("busy", "fd", "pid", "queue", "waiting")

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd
        self.waiting: dict[int, list[str]] = {}
        self.queue: list[tuple[int, dict[str, Any], list[Any]]] = []
        """Parts that were not sent yet. One is forked at a time: a fork costs a twentieth of what the daemon then does to get ready, so
        the processor itself holds the two in balance, and nobody starves while a thousand start."""
        self.busy = False


class Helpers:
    """Starts, feeds and replaces the helpers of one warden."""

    def __init__(self, warden: Warden) -> None:
        self._warden = warden
        self._interpreters: dict[tuple[str, str], Preloaded] = {}
        self._keeper_fd: int | None = None
        self._keeper_pid = 0
        self._keeper_inbox = wire.Inbox()
        self._logs: dict[str, tuple[Any, ...]] = {}
        """What each daemon's log was opened with, for a keeper started anew."""
        self._held: dict[str, int] = {}
        """Log pipes that the keeper has not opened yet."""
        self._settling: dict[str, list[tuple[Any, ...]]] = {}
        """Certificates that wait until the daemon's last line is on disk."""

    # -- preloaded interpreters ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a batch of Python daemons is on its way."""
        return any(helper.waiting for helper in self._interpreters.values())

    def warm(self, python: str, root: str, env: dict[str, str]) -> None:
        """Start the preloaded interpreter of *python* unless it runs."""
        if (python, root) not in self._interpreters:
            self._start(python, root, env)

    def fork(
        self, batch: int, key: tuple[str, str, dict[str, str]], settings: dict[str, Any], items: list[Any]
    ) -> None:
        """Have a batch of Python daemons forked by the interpreter of *key*: (python, import root, environment)."""
        python, root, env = key
        try:
            helper = self._interpreters.get((python, root)) or self._start(python, root, env)
            for part in _parts(items):
                helper.waiting.setdefault(batch, []).extend(item[0] for item in part)
                helper.queue.append((batch, settings, part))
            self._feed(helper)
        except OSError as error:
            lost = [(item[0], 0, error.errno or 0, "exec", python) for item in items]
            self._interpreters.get((python, root), Preloaded(0, -1)).waiting.pop(batch, None)
            self._warden.tell(("spawned", batch, lost))

    @staticmethod
    def _feed(helper: Preloaded) -> None:
        if helper.queue and not helper.busy:
            helper.busy = True
            os.write(helper.fd, wire.pack(("fork", *helper.queue.pop(0))))

    def drop_queues(self) -> None:
        """Forget the parts that were not sent yet; the one that is being forked is answered."""
        for helper in self._interpreters.values():
            for batch, _, part in helper.queue:
                unsent = {item[0] for item in part}
                helper.waiting[batch] = [each for each in helper.waiting.get(batch, []) if each not in unsent]
            helper.queue.clear()
            helper.waiting = {batch: left for batch, left in helper.waiting.items() if left}

    def _start(self, python: str, root: str, env: dict[str, str]) -> Preloaded:
        import socket

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.posix_spawn(
                python,
                [python, "-c", BOOT, root],
                env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                ],
                setsigmask=(),
                setsigdef=RESET_SIGNALS,
            )
        helper = self._interpreters[python, root] = Preloaded(pid, ours.detach())
        self._warden.adopt_pid(pid, helper=True)
        self._warden.watch(helper.fd, lambda: self._on_interpreter(helper))
        return helper

    def read_reports(self) -> None:
        """Take what the preloaded interpreters have reported by now."""
        for helper in list(self._interpreters.values()):
            if helper.waiting:
                self._on_interpreter(helper, blocking=False)

    def _on_interpreter(self, helper: Preloaded, *, blocking: bool = False) -> None:
        os.set_blocking(helper.fd, blocking)
        try:
            while True:
                data = os.read(helper.fd, 1 << 20)
                if not data:
                    self._lose_interpreter(helper)
                    return
                for _, batch, report in wire.Inbox().feed(data):
                    waiting = helper.waiting.get(batch, [])
                    for entry in report:
                        if entry[0] in waiting:
                            waiting.remove(entry[0])
                    if not waiting:
                        helper.waiting.pop(batch, None)
                    self._warden.register(batch, report)
                    helper.busy = False
                    self._feed(helper)
        except BlockingIOError:
            pass  # all read
        except OSError:
            self._lose_interpreter(helper)
            return
        os.set_blocking(helper.fd, True)

    def _lose_interpreter(self, helper: Preloaded) -> None:
        for key, other in list(self._interpreters.items()):
            if other is helper:
                del self._interpreters[key]
                self._warden.unwatch(helper.fd)
                os.close(helper.fd)
                for batch, lost in helper.waiting.items():
                    self._warden.tell(
                        ("spawned", batch, [(daemon_id, 0, 2, "preload", key[0]) for daemon_id in lost])
                    )
                helper.waiting.clear()

    def died(self, pid: int) -> None:
        """A helper process ended: replace the keeper at once, an interpreter when it is next asked for."""
        if pid == self._keeper_pid:
            self._lose_keeper()

    # -- logs ----------------------------------------------------------------------------------------------------------------

    def log(self, message: tuple[Any, ...]) -> None:
        """Pass ("open", id, pipe, path, max_bytes, backups), ("watch" or "expect", id, pattern) or ("close", id) to the keeper."""
        verb, daemon_id = message[0], message[1]
        if verb == "open":
            pipe = message[2]
            try:
                os.mkfifo(pipe, 0o600)
            except FileExistsError:
                pass  # kept from the last run: an earlier main process or its child may still hold it
            self._logs[daemon_id] = message
            self._hold(daemon_id, pipe)
        elif verb == "close":
            self._logs.pop(daemon_id, None)
            self._let_go(daemon_id)
        self._say(message)

    def _hold(self, daemon_id: str, pipe: str) -> None:
        """Keep the pipe open until the keeper has it: what is in a pipe nobody holds any more is lost, and a daemon may end at once."""
        if daemon_id not in self._held:
            try:
                self._held[daemon_id] = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                pass  # no descriptor to be had: the keeper opens it all the same, a little later

    def _let_go(self, daemon_id: str) -> None:
        fd = self._held.pop(daemon_id, None)
        if fd is not None:
            os.close(fd)

    def settle(self, daemon_id: str, certificate: tuple[Any, ...]) -> None:
        """Give the certificate of a stop to the owner, after the daemon's last words have reached its log."""
        self.after_output(daemon_id, certificate)

    def after_output(self, daemon_id: str, message: tuple[Any, ...]) -> None:
        """Tell the owner *message* once all that the daemon has written so far is in its log."""
        if daemon_id in self._logs and self._keeper_fd is not None:
            self._settling.setdefault(daemon_id, []).append(message)
            self._say(("drain", daemon_id))
        else:
            self._warden.tell(message)

    def _say(self, message: tuple[Any, ...]) -> None:
        try:
            if self._keeper_fd is None:
                self._start_keeper()
            if self._keeper_fd is not None:
                launch.write_all(self._keeper_fd, wire.pack(message))
        except OSError:
            self._lose_keeper()

    def _start_keeper(self) -> None:
        import socket

        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                handlers.no_wakeup()
                from duende.adapters.native.warden.keeper import keep_logs

                os.dup2(theirs.fileno(), 3, inheritable=False)
                os.closerange(4, 1 << 20)
                keep_logs(3)
                code = 0
            finally:
                os._exit(code)
        theirs.close()
        self._keeper_pid, self._keeper_fd = pid, ours.detach()
        self._keeper_inbox = wire.Inbox()
        self._warden.adopt_pid(pid, helper=True)
        self._warden.watch(self._keeper_fd, self._on_keeper)
        for daemon_id, message in self._logs.items():
            self._hold(daemon_id, message[2])
            launch.write_all(self._keeper_fd, wire.pack(message))

    def _on_keeper(self) -> None:
        fd = self._keeper_fd
        if fd is None:
            return
        try:
            data = os.read(fd, 1 << 16)
        except OSError:
            data = b""
        if not data:
            self._lose_keeper()
            return
        for message in self._keeper_inbox.feed(data):
            if message[0] == "opened":
                self._let_go(message[1])
            elif message[0] == "drained":
                waiting = self._settling.get(message[1])  # answered in the order they were asked
                if waiting:
                    self._warden.tell(waiting.pop(0))
                    if not waiting:
                        del self._settling[message[1]]
            else:
                self._warden.tell(message)

    def _lose_keeper(self) -> None:
        fd, self._keeper_fd = self._keeper_fd, None
        if fd is None:
            return
        self._warden.unwatch(fd)
        os.close(fd)
        waiting, self._settling = self._settling, {}
        for messages in waiting.values():
            for message in messages:
                self._warden.tell(message)
        if self._logs:
            self._start_keeper()

    def close(self) -> None:
        """End the helpers: each of them ends when its socket closes."""
        self._logs.clear()
        if self._keeper_fd is not None:
            os.close(self._keeper_fd)
            self._keeper_fd = None
        for helper in self._interpreters.values():
            os.close(helper.fd)
        self._interpreters.clear()


def _parts(items: list[Any]) -> list[list[Any]]:
    """Split a batch so that each part fits one record."""
    parts: list[list[Any]] = [[]]
    size = 0
    for item in items:
        weight = len(item[1]["config"]) + sum(len(k) + len(v) + 16 for k, v in item[3].items()) + 400
        if parts[-1] and (size + weight > RECORD // 2 or len(parts[-1]) >= PART):
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += weight
    return parts
