"""Being told by the kernel that a process of launchd has ended: kqueue(2) on macOS, a pidfd on Linux. How it ended, launchd says."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Callable

from duende.adapters.launchd.processes import born


class ExitWatch:
    """Calls back once, in the loop's thread, when the process *pid* that was born then has ended."""

    def __init__(self, pid: int, since: int, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._close: Callable[[], None] | None = None
        self._fd = self._open(pid)
        # Looked at after it was opened: the descriptor and the start time are of the same process, or it is over.
        if self._fd < 0 or born(pid) != since:
            self.close()
            self._loop.call_soon(ended)
            return
        self._loop.add_reader(self._fd, self._on_end)

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            fd, self._fd = self._fd, -1
            if self._close is not None:
                self._close()
            else:
                os.close(fd)

    def _open(self, pid: int) -> int:
        if sys.platform == "darwin":
            queue = select.kqueue()
            event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            try:
                queue.control([event], 0, 0)
            except OSError:
                queue.close()
                return -1  # it has ended (ESRCH)
            self._close = queue.close
            return queue.fileno()
        try:
            return os.pidfd_open(pid)
        except OSError:
            return -1  # it has ended

    def _on_end(self) -> None:
        self.close()
        self._ended()
