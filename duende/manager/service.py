"""The manager as a process: `duende manager FLEET`. Started in the foreground; `duende start` starts it in the background when needed.

Order matters for speed: the warden is forked before anything heavy is loaded, and asyncio comes in while it starts its first daemons.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from duende.errors import DuendeError
from duende.manager.paths import default_runtime_dir, default_state_dir

if TYPE_CHECKING:
    from duende.manager.applying import Applied
    from duende.manager.manager import DaemonManager


UNUSED = ("ssl", "typing_extensions")
"""What asyncio and msgspec load where it is installed, and a manager, which speaks no TLS, has no use for: a fifth of its memory and start."""


class Options:
    """What the command line of the manager said."""

    __slots__ = (
        "adapter",
        "fleet",
        "keep",
        "listen",
        "monitor",
        "notify_fd",
        "runtime_dir",
        "state_dir",
    )

    def __init__(
        self,
        fleet: str | None,
        state_dir: str,
        runtime_dir: str,
        *,
        keep: bool = True,
        notify_fd: int | None = None,
        adapter: str | None = None,
        monitor: str | None = None,
        listen: str | None = None,
    ) -> None:
        self.fleet = fleet
        self.state_dir = state_dir
        self.runtime_dir = runtime_dir
        self.keep = keep
        self.adapter = adapter
        """Name of the adapter of daemons that ask for none; None is the native one."""
        self.monitor = os.environ.get("DUENDE_MONITOR", "") if monitor is None else monitor
        """The interval at which the manager samples its daemons, as a duration; empty or 0 is never."""
        self.listen = os.environ.get("DUENDE_METRICS_LISTEN", "") if listen is None else listen
        """Where metrics are served over TCP; empty is nowhere."""
        self.notify_fd = notify_fd
        """Gets one line when the manager is up (or says why not), then is closed."""


def plainly(argv: list[str]) -> Options | None:
    """The options in *argv*, what follows `duende manager`; None where they are not in plain form, or wrong: then the command's grammar
    reads them, and explains. A test holds the two together.
    """
    values: dict[str, str] = {}
    flags: set[str] = set()
    fleet: list[str] = []
    words = iter(argv)
    for word in words:
        name, joined, value = word.partition("=")
        if word in ("--no-keep", "--foreground", "--json"):
            flags.add(word)
        elif name in ("--state-dir", "--runtime-dir", "--notify-fd", "--monitor", "--metrics-listen"):
            values[name] = value if joined else next(words, "")
            if not values[name] or values[name].startswith("-"):
                return None
        elif word.startswith("-") or not word:
            return None
        else:
            fleet.append(word)
    notify = values.get("--notify-fd")
    if len(fleet) > 1 or (notify is not None and not (notify.isascii() and notify.isdigit())):
        return None
    return Options(
        fleet[0] if fleet else None,
        values.get("--state-dir", default_state_dir()),
        values.get("--runtime-dir", default_runtime_dir()),
        keep="--no-keep" not in flags,
        notify_fd=None if notify is None else int(notify),
        monitor=values.get("--monitor"),
        listen=values.get("--metrics-listen"),
    )


def serve(options: Options, early: tuple[int, int] | None = None) -> int:
    """Run the manager until it is told to stop; the exit code. *early* is the warden that `early.fork_early` made."""
    without = [name for name in UNUSED if name not in sys.modules]
    for name in without:
        sys.modules[name] = None  # type: ignore[assignment]
    import asyncio

    import msgspec  # noqa: F401 (while what it does not need cannot be had)

    for name in without:
        del sys.modules[name]
    try:
        return asyncio.run(_main(options, early))
    except KeyboardInterrupt:  # before there was a handler
        return 130


async def _main(options: Options, early: tuple[int, int] | None) -> int:
    import asyncio
    import signal

    from duende.adapters.choose import adapter_named, default_adapter
    from duende.manager.applying import Applied
    from duende.manager.control import Control
    from duende.manager.manager import DaemonManager
    from duende.manager.observing import Observing

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
    observing = Observing(manager, control)
    code = 0
    try:
        await control.open()
        await observing.open(options.monitor, options.listen)
        await applied.boot(options.fleet)
        observing.start()
        _complain(manager, applied)
        manager.journal.on_trouble = _tell_trouble
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
        await observing.close()
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


def _tell_trouble(trouble: str) -> None:
    """Whoever looks at the manager's own output learns why its journal falls behind, and when it no longer does."""
    sys.stderr.write(f"duende manager: {trouble or 'the journal can be written again'}\n")
    sys.stderr.flush()


def _announce(options: Options, line: str) -> None:
    if options.notify_fd is not None:
        try:
            os.write(options.notify_fd, line.encode() + b"\n")
            os.close(options.notify_fd)
        except OSError:
            pass  # whoever started us did not wait
        options.notify_fd = None
