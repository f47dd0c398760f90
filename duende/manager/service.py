"""The manager as a process: `duende manager FLEET`. Started in the foreground; `duende start` starts it in the background when needed.

Order matters for speed: the warden is forked before anything heavy is loaded, and asyncio comes in while it starts its first daemons.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from duende.errors import DuendeError

if TYPE_CHECKING:
    import socket

    from duende.manager.applying import Applied
    from duende.manager.manager import DaemonManager


class Options:
    """What the command line of the manager said."""

    __slots__ = ("adapter", "fleet", "keep", "notify_fd", "runtime_dir", "state_dir")

    def __init__(
        self,
        fleet: str | None,
        state_dir: str,
        runtime_dir: str,
        *,
        keep: bool = True,
        notify_fd: int | None = None,
        adapter: str | None = None,
    ) -> None:
        self.fleet = fleet
        self.state_dir = state_dir
        self.runtime_dir = runtime_dir
        self.keep = keep
        self.adapter = adapter
        """Name of the adapter of daemons that ask for none; None is the native one."""
        self.notify_fd = notify_fd
        """Gets one line when the manager is up (or says why not), then is closed."""


def serve(options: Options, early: tuple[socket.socket, int] | None = None) -> int:
    """Run the manager until it is told to stop; the exit code. *early* is the warden that `early.fork_early` made."""
    without_ssl = "ssl" not in sys.modules
    if without_ssl:  # a manager speaks no TLS: a fifth of its memory and of its start
        sys.modules["ssl"] = None  # type: ignore[assignment]
    import asyncio

    if without_ssl:
        del sys.modules["ssl"]
    return asyncio.run(_main(options, early))


async def _main(options: Options, early: tuple[socket.socket, int] | None) -> int:
    import asyncio
    import signal

    from duende.adapters.choose import adapter_named, default_adapter
    from duende.manager.applying import Applied
    from duende.manager.control import Control
    from duende.manager.manager import DaemonManager

    try:
        if options.adapter in (None, "native"):
            adapter = default_adapter(options.runtime_dir, options.state_dir, keep=options.keep, helper=early)
        else:
            adapter = adapter_named(
                str(options.adapter),
                runtime_dir=options.runtime_dir,
                state_dir=options.state_dir,
                keep=options.keep,
            )
    except DuendeError as error:
        _announce(options, f"error: {error}")
        sys.stderr.write(f"duende manager: {error}\n")
        return 69  # EX_UNAVAILABLE
    manager = DaemonManager(
        adapter=adapter, state_dir=options.state_dir, runtime_dir=options.runtime_dir, keep=options.keep
    )
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[Any]] = []

    async def finish() -> None:
        finished.set()

    async def end() -> None:
        await manager.shutdown_all()
        finished.set()

    def on_signal() -> None:
        if not ending:
            ending.append(loop.create_task(end()))

    try:
        await manager.open()
    except DuendeError as error:
        await adapter.close()
        _announce(options, f"error: {error}")
        sys.stderr.write(f"duende manager: {error}\n")
        return 75  # EX_TEMPFAIL: somebody else has the folders, or they cannot be used
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, on_signal)
    applied = Applied(manager)
    control = Control(manager, finish, applied)
    code = 0
    try:
        await control.open()
        await applied.boot(options.fleet)
        _complain(manager, applied)
        _announce(options, "ready")
        await finished.wait()
    except DuendeError as error:
        _announce(options, f"error: {error}")
        sys.stderr.write(f"duende manager: {error}\n")
        code = 78  # EX_CONFIG
    finally:
        if ending:
            await asyncio.gather(*ending, return_exceptions=True)
        await control.close()
        if code != 0:
            await manager.shutdown_all()
        await manager.close()
    return code


def _complain(manager: DaemonManager, applied: Applied) -> None:
    for what, aside in (
        ("journal", manager.journal.set_aside),
        ("definitions", applied.definitions.set_aside),
    ):
        if aside is not None:
            sys.stderr.write(f"duende manager: unreadable {what} set aside as {aside}\n")
    for remark in applied.remarks:
        sys.stderr.write(f"duende manager: {remark}\n")


def _announce(options: Options, line: str) -> None:
    if options.notify_fd is not None:
        try:
            os.write(options.notify_fd, line.encode() + b"\n")
            os.close(options.notify_fd)
        except OSError:
            pass  # whoever started us did not wait
        options.notify_fd = None
