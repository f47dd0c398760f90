"""A recycled pid: a stranger gets the number of a process that has ended.

Only in a pid namespace of our own.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fixtures.lease import Reaper
from scenarios.faults.base import Leased, NoEffectError
from scenarios.look import Watched, state_of, until

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
"""The pid that was given last in this pid namespace (proc(5)); the next one is the next free number."""
TRIES = 50
FREE_WITHIN = 10.0


class RecycledPid(Leased):
    """Gives *pid*, once its owner has ended and is reaped, to a stranger with the command *line*; healed by
    killing it.
    """

    name = "recycled-pid"

    def __init__(self, pid: int, line: list[str]) -> None:
        super().__init__()
        self._pid = pid
        self._line = line

    def unsupported(self) -> str:
        """Only where pid 1 is one of ours: rewinding the host's numbers would be felt by everybody."""
        return (
            "" if os.getppid() == 1 and os.access(LAST_PID, os.W_OK) else "needs a pid namespace of its own"
        )

    async def inject(self, reaper: Reaper, pick: int) -> str:
        """Rewind the numbers and start the stranger; proven by its pid."""
        if not await until(lambda: state_of(self._pid) == "", FREE_WITHIN):
            raise NoEffectError(f"{self._pid} is still there")
        for _ in range(TRIES):
            # Nothing may come between these two lines, so neither gives way to the loop.
            LAST_PID.write_text(str(self._pid - 1))
            got = os.posix_spawn(self._line[0], self._line, {})
            if got == self._pid:
                self.leases.append(reaper.lease_process("kill", got))
                return f"pid {got} belongs to {' '.join(self._line[-2:])}"
            wrong = Watched(got)
            wrong.send(signal.SIGKILL)
            wrong.close()
            os.waitpid(got, 0)
        raise NoEffectError(f"somebody else always took {self._pid}")
