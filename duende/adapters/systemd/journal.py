"""Reading a unit's output from the journal: by `journalctl --output=json`, as no maintained reader in Python exists. With a deadline."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
from collections.abc import Callable

from duende.adapters.systemd import parse
from duende.errors import NotSupportedError, PlatformIOError, PlatformTimeoutError

LARGEST_ENTRY = 16 * 1024 * 1024
"""Bytes of one entry of a followed journal; LineMax= is 48 KiB by default (journald.conf(5)), in JSON up to six times that."""

UNSYNCED = 0.2
"""Seconds that journald is given where nobody may tell it to catch up; it takes milliseconds unless the machine is overloaded."""


FIELDS = "MESSAGE,_SYSTEMD_INVOCATION_ID,_STREAM_ID,_PID"
BROADER, BROADEST = 10, 1000
"""Entries read for each line that is wanted, and at least, where those of other starts are among them."""


def arguments(invocation: str, unit: str = "") -> list[str]:
    """What selects the output of one start: lines that its own processes wrote, not what systemd says of it.

    With *unit* also its lines that bear no invocation id: journald looks that up when it reads a line, and systemd takes it away as the
    unit fails or ends, so that the last words of a short-lived one may come too late for it (seen with 252).

    Without `--user`, also for a user's manager: a journal kept in memory is not split by user (journald.conf(5), SplitMode=).
    """
    ours = [f"_SYSTEMD_INVOCATION_ID={invocation}"]
    for field in ("_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT") if unit else ():
        ours += ["+", f"{field}={unit}", "_TRANSPORT=stdout"]
    return ["--quiet", "--no-pager", "--output=json", f"--output-fields={FIELDS}", *ours]


async def read(
    command: tuple[str, ...],
    invocation: str,
    lines: int,
    timeout: float,
    *,
    unit: str = "",
    pid: str = "",
) -> list[str]:
    """The last *lines* lines of one start's output, oldest first; with *unit* and its main process also those without an invocation id.

    Raises:
        NotSupportedError: journalctl is not installed.
        PlatformIOError: it failed.
        PlatformTimeoutError: it did not end within *timeout* seconds.
    """
    if lines <= 0:
        return []
    entries = max(BROADER * lines, BROADEST) if unit else lines
    process = await _start((*command, *arguments(invocation, unit), f"--lines={entries}"))
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except TimeoutError:
        raise PlatformTimeoutError("read the journal", timeout) from None
    finally:
        await _end(process)
    if process.returncode:
        raise PlatformIOError(
            f"cannot read the journal: {err.decode(errors='replace').strip() or f'exit code {process.returncode}'}",
            remedy="join the group systemd-journal, or run as root",
        )
    return parse.journal_lines(out, invocation, pid)[-lines:]


async def catch_up(command: tuple[str, ...], timeout: float) -> bool:
    """Wait until journald has written all that was sent to it before, *timeout* seconds at most; whether it has, for certain.

    `journalctl --sync` returns after everything that was queued when it asked (journalctl(1)); it needs root. Where it cannot be had, the
    time it would take on an idle machine is all that is waited for.
    """
    process = await _start((*command, "--sync"))
    try:
        async with asyncio.timeout(timeout):
            await process.communicate()
    except TimeoutError:
        return False
    finally:
        await _end(process)
    if process.returncode:
        await asyncio.sleep(min(UNSYNCED, timeout))
    return not process.returncode


async def follow(command: tuple[str, ...], invocation: str, line: Callable[[str], bool]) -> None:
    """Call *line* with each line of output, those already there first, until it returns True; raises as `read` does, too.

    Raises:
        PlatformIOError: an entry is too large to be one.
    """
    process = await _start((*command, *arguments(invocation), "--follow", "--lines=all"))
    try:
        if process.stdout is None:
            raise PlatformIOError("cannot read the journal: journalctl has no output")
        while raw := await process.stdout.readline():
            for text in parse.journal_lines(raw):
                if line(text):
                    return
    except ValueError as error:
        raise PlatformIOError(f"cannot read the journal: an entry is above {LARGEST_ENTRY} bytes") from error
    finally:
        await _end(process)


async def _start(argv: tuple[str, ...]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LARGEST_ENTRY,
        )
    except OSError as error:
        raise NotSupportedError(
            "linux",
            f"read the journal: cannot run {argv[0]}: {error.strerror}",
            remedy="install systemd's journalctl, or set logging.path",
        ) from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
