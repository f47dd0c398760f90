"""Run a small program to its end: probes and health checks."""

from __future__ import annotations

import asyncio
import os
import select

from duende.kernel.process import RESET_SIGNALS, send_signal


async def run_once(argv: tuple[str, ...], timeout: float) -> int:
    """Exit code of *argv* run with output to /dev/null: negative for a signal, 127 when it cannot run, 124 when killed after *timeout* s."""
    try:
        pid = os.posix_spawnp(
            argv[0],
            argv,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)],
            setsid=True,
            setsigdef=RESET_SIGNALS,
        )
    except OSError:
        return 127
    fd = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _finish, ended)
    late = False
    try:
        async with asyncio.timeout(timeout):
            await ended
    except TimeoutError:
        late = True
    finally:
        loop.remove_reader(fd)
        # Not reaped yet, so the number is still its own.
        if os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            send_signal(pid, 9)
            await loop.run_in_executor(None, select.select, [fd], [], [])
        result = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
        os.close(fd)
    if late or result is None:
        return 124
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
