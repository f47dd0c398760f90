"""The life of one daemon in this process: init -> ready -> run -> shutdown, each with what may go wrong."""

from __future__ import annotations

import asyncio
import os
import signal as signals
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from duende.config.check import normalise
from duende.config.model import DaemonConfig
from duende.daemon import Daemon, DaemonContext
from duende.errors import (
    AlreadyRunningError,
    ConfigError,
    DaemonIOError,
    DuendeError,
    InitError,
    ShutdownTimeoutError,
)
from duende.host import exitcodes, lazily
from duende.host.notify import Notifier, watchdog_interval
from duende.host.pidfile import PidFile
from duende.signals import Signal
from duende.states import ExitKind, ExitReason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.config.policy import PolicyConfig
    from duende.observe.otlp import Exporter

HANDLED = (Signal.TERM, Signal.INT, Signal.QUIT, Signal.HUP, Signal.USR1, Signal.USR2, Signal.CONT)
"""Every signal a program can handle of those a daemon is told apart by; KILL and STOP cannot be."""
EARLY = (signals.SIGHUP, signals.SIGUSR1, signals.SIGUSR2)
"""Signals that mean something to a running daemon and would end a starting one."""
OF_KIND = {
    ExitKind.GRACEFUL: exitcodes.OK,
    ExitKind.ERROR: exitcodes.ERROR,
    ExitKind.RESOURCE_EXHAUSTED: exitcodes.RESOURCE,
    ExitKind.POLICY_VIOLATION: exitcodes.POLICY,
}
"""Exit code of what `run` returned, signals aside."""
CANCEL_GRACE = 1.0
"""Seconds a cancelled `run` or `shutdown` gets to unwind before the process leaves without it."""
BEAT = 0.5
"""Seconds between two beats of the loop: a pause is known to within half of it, for two wake-ups a second."""


class Outcome(msgspec.Struct, frozen=True):
    """How it ended."""

    code: int
    """The exit code (`duende.host.exitcodes`)."""
    reason: ExitReason
    message: str = ""


class Host:
    """Runs one daemon once."""

    def __init__(
        self,
        daemon: Daemon,
        config: DaemonConfig,
        *,
        pid_file: str | None = None,
        socket: str | None = None,
        config_source: str | None = None,
        notifier: Notifier | None = None,
        handle_signals: bool = True,
        owns_process: bool = False,
    ) -> None:
        """Take what to run.

        Args:
            daemon: the daemon.
            config: its configuration.
            pid_file: PID file to hold while it lives.
            socket: unix socket for health, status and metrics.
            config_source: the file to read again on HUP.
            notifier: where readiness goes; from the environment unless given.
            handle_signals: whether this host handles the process's signals.
            owns_process: whether the process ends with the daemon, so that no signal may end it before its
            exit code.
        """
        self.daemon = daemon
        self.config = normalise(config)
        self.notifier = notifier or Notifier.from_environment()
        self._handle_signals = handle_signals
        self._owns_process = owns_process
        self.context = DaemonContext(self.config, self.notifier.send)
        self.context.make_policy = lambda: lazily.policy(
            self.config.policy, daemon.metrics.record_circuit_breaker_trip
        )
        self.context.make_spans = lambda: lazily.spans(self.config.name)
        self._pid_file = PidFile(pid_file) if pid_file else None
        self._socket = socket or os.environ.pop("DUENDE_SOCKET", None)
        self._source = config_source
        self._endpoint: object | None = None
        self._exporter: Exporter | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None
        self._installed: dict[int, Any] = {}
        self._last_beat = 0.0
        self._gap = 0.0
        self._gap_at = -BEAT
        self._reload_again = False
        self._deadline: float | None = None

    @classmethod
    def of(cls, daemon: Daemon | type[Daemon], config: DaemonConfig | None = None, **options: Any) -> Host:
        """A host for a class or an instance; without *config* one with the daemon's name.

        Raises:
            ConfigError: the class is abstract, or cannot be made without arguments.
        """
        from duende.host.target import make

        made = make(daemon)
        if not made.name:
            made.name = config.name if config is not None else type(made).__name__.lower()
        return cls(made, config or DaemonConfig(name=made.name, daemon="host:own"), **options)

    async def run(self) -> Outcome:
        """Run to the end; never raises for what the daemon does."""
        try:
            if self._pid_file is not None:
                self._pid_file.take()
        except AlreadyRunningError as error:
            return self._failed(exitcodes.ALREADY_RUNNING, error)
        except DaemonIOError as error:
            return self._failed(exitcodes.IO, error)
        self._install_signals()
        try:
            return await self._live()
        finally:
            await self._leave()

    async def _live(self) -> Outcome:
        daemon = self.daemon
        try:
            if self.config.resources.lock_memory:
                from duende.mlock import apply_memory_config

                apply_memory_config(self.config.resources)
        except DuendeError as error:
            return self._failed(exitcodes.RESOURCE, error)
        self._exporter = lazily.exporter_of(daemon, self.context)
        work = asyncio.ensure_future(daemon.init(self.config))
        if await self._until_asked_and_late(work):
            return self._failed(
                exitcodes.SHUTDOWN_TIMEOUT,
                ShutdownTimeoutError(f"{daemon.name} (in init)", self.config.shutdown_timeout),
            )
        try:
            work.result()
        except ConfigError as error:
            return self._failed(exitcodes.CONFIG, error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (whatever it is, the daemon never ran)
            traceback.print_exc()
            return self._failed(
                exitcodes.INIT, InitError(f"{daemon.name}: init failed: {type(error).__name__}: {error}")
            )
        try:
            await self._open_endpoint()
        except DaemonIOError as error:
            return self._failed(exitcodes.IO, error)
        self._start_watchdog()
        if not daemon.announces_ready:
            self.notifier.send("READY=1")
        outcome = await self._run()
        self.notifier.send("STOPPING=1")
        return await self._shut_down(outcome)

    async def _run(self) -> Outcome:
        """`run`, bounded by shutdown_timeout from the moment shutdown is asked for."""
        work = asyncio.ensure_future(self.daemon.run(self.context))
        if await self._until_asked_and_late(work):
            limit = self.config.shutdown_timeout
            text = f"{self.daemon.name}: run() did not end within {limit:g} s of being asked"
            return self._failed(exitcodes.SHUTDOWN_TIMEOUT, text)
        try:
            reason = work.result() or ExitReason.graceful()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (it is the daemon's, and the exit code tells)
            traceback.print_exc()
            return self._failed(
                exitcodes.RUN, f"{self.daemon.name}: run() raised {type(error).__name__}: {error}"
            )
        if reason.kind is ExitKind.SIGNAL and reason.signal is not None:
            return Outcome(exitcodes.SIGNAL_BASE + reason.signal.number(), reason, reason.detail)
        return Outcome(OF_KIND.get(reason.kind, exitcodes.ERROR), reason, reason.detail)

    async def _until_asked_and_late(self, work: asyncio.Future[Any]) -> bool:
        """Wait for *work*; True when it was still going `shutdown_timeout` after shutdown was asked for, and
        was cancelled.
        """
        asked = asyncio.ensure_future(self.context.wait_shutdown())
        try:
            await asyncio.wait((work, asked), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                if self._deadline is None:
                    self._deadline = time.monotonic() + self.config.shutdown_timeout
                await asyncio.wait((work,), timeout=max(0.0, self._deadline - time.monotonic()))
            if work.done():
                return False
            await _abandon(work)
            return True
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            asked.cancel()

    async def _shut_down(self, outcome: Outcome) -> Outcome:
        timeout = self.config.shutdown_timeout
        left = timeout if self._deadline is None else max(0.05, self._deadline - time.monotonic())
        work = asyncio.ensure_future(self.daemon.shutdown(left))
        await asyncio.wait((work,), timeout=left)
        if not work.done():
            await _abandon(work)
            text = f"{self.daemon.name}: shutdown() did not end within {timeout:g} s"
            # What went wrong first keeps its exit code; that shutdown was late as well is only said.
            late = self._failed(exitcodes.SHUTDOWN_TIMEOUT, text)
            return late if outcome.code == exitcodes.OK else outcome
        error = None if work.cancelled() else work.exception()
        if error is not None:
            traceback.print_exception(error)
            if outcome.code == exitcodes.OK:
                return self._failed(
                    exitcodes.SHUTDOWN,
                    f"{self.daemon.name}: shutdown() raised {type(error).__name__}: {error}",
                )
        return outcome

    # -- signals ---------------------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        if not self._handle_signals:
            return
        loop = asyncio.get_running_loop()
        for signal in HANDLED:
            number = signal.number()
            before = signals.getsignal(number)
            try:
                loop.add_signal_handler(number, self.receive, signal)
            except (ValueError, RuntimeError):  # not the main thread: then signals are the caller's business
                return
            self._installed[number] = before
        # Those that came while the class was being imported waited in the kernel (see `hold_early_signals`).
        signals.pthread_sigmask(signals.SIG_UNBLOCK, EARLY)

    def receive(self, signal: Signal) -> None:
        """Take a signal: what the handler does, and what a test harness calls instead of a real one."""
        if signal is Signal.CONT:
            self._note_pause()
        if signal is Signal.HUP:
            self._begin_reload()
        self.context.deliver(signal)

    def _note_pause(self) -> None:
        """Nobody tells a process how long it was stopped; the beat that should have come in the meantime
        does.
        """
        now = time.monotonic()
        gap = self._late_beat(now)
        if gap == 0.0 and now - self._gap_at < BEAT:
            # After CONT the loop may run the overdue beat before this handler.
            gap = self._gap
        self._gap = 0.0
        if gap:
            # It was stopped somewhere between two beats: half a beat is the unbiased guess.
            self.daemon.metrics.record_pause(gap - BEAT / 2)
            self._last_beat = now

    def _late_beat(self, now: float) -> float:
        """Seconds since the last beat if that is too long for a loop that was running, else 0."""
        gap = now - self._last_beat
        return gap if self._last_beat and gap > 2 * BEAT else 0.0

    # -- reload ----------------------------------------------------------------------------------------------

    def _begin_reload(self) -> None:
        # A HUP during a reload asks for another one: the file may have changed after it was read.
        self._reload_again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        while self._reload_again:
            self._reload_again = False
            await self._reload_once()

    async def _reload_once(self) -> None:
        """Read the configuration again; a bad one changes nothing, and the daemon goes on."""
        self.notifier.reloading()
        try:
            if self._source is not None:
                from duende.config import load

                # What the command line gave stays given: the file need not repeat the name or the class.
                fresh = load(self._source, name=self.config.name, daemon=self.config.daemon)
                if fresh.name != self.config.name:
                    raise ConfigError(
                        f"name: cannot change from {self.config.name!r} to {fresh.name!r} while running",
                        key="name",
                    )
                self._take(fresh)
            await self.daemon.reload(self.config)
        except Exception as error:  # noqa: BLE001  (a daemon that runs well must not end because a new file is wrong)
            sys.stderr.write(
                f"duende: {self.config.name}: reload refused, the old configuration stays: {error}\n"
            )
            self.context.status(f"reload refused: {error}")
        else:
            self.context.status("reloaded")
        self.notifier.send("READY=1")

    def put_policy(self, policy: PolicyConfig) -> None:
        """Put *policy*, which was found good, in force."""
        self._take(msgspec.structs.replace(self.config, policy=policy))

    def _take(self, config: DaemonConfig) -> None:
        self.config = self.context.config = config
        if self.context.has_policy:
            self.context.policy.apply(config.policy)

    # -- socket, watchdog, end -------------------------------------------------------------------------------

    async def _open_endpoint(self) -> None:
        if self._socket:
            from duende.host.endpoint import Endpoint

            endpoint = Endpoint(self._socket, self.daemon, self.context, lambda: self.config, self.put_policy)
            await endpoint.open()
            self._endpoint = endpoint

    def _start_watchdog(self) -> None:
        self._last_beat = time.monotonic()  # a stop may come before the first beat
        self._beat = asyncio.get_running_loop().create_task(self._beats(watchdog_interval()))

    async def _beats(self, watchdog: float | None) -> None:
        """Runs as long as the loop does, so WATCHDOG=1 means progress, and a gap means that the process stood
        still.
        """
        next_dog = time.monotonic()
        while True:
            now = time.monotonic()
            if gap := self._late_beat(now):
                self._gap, self._gap_at = gap, now
            self._last_beat = now
            if watchdog is not None and now >= next_dog:
                self.notifier.send("WATCHDOG=1")
                next_dog = now + watchdog
            await asyncio.sleep(min(BEAT, watchdog) if watchdog is not None else BEAT)

    async def _leave(self) -> None:
        for task in (self._reloading, self._beat):
            if task is not None:
                task.cancel()
        loop = asyncio.get_running_loop()
        close: Callable[[], object] | None = getattr(self._endpoint, "close", None)
        if close is not None:
            close()
        if self._pid_file is not None:
            self._pid_file.release()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)
        self.notifier.close()
        for number, before in self._installed.items():
            loop.remove_signal_handler(number)
            # A second TERM must not end the process between here and its exit code; a guest leaves things as
            # they were.
            signals.signal(number, signals.SIG_IGN if self._owns_process else before)

    def _failed(self, code: int, error: DuendeError | str) -> Outcome:
        text = str(error)
        sys.stderr.write(f"duende: {text}\n")
        self.context.status(text)
        return Outcome(code, ExitReason.error(text), text)


def hold_early_signals() -> None:
    """Let HUP, USR1 and USR2 wait in the kernel until the host handles them: by default they end a process
    that is not yet ready.
    """
    signals.pthread_sigmask(signals.SIG_BLOCK, EARLY)


async def _abandon(work: asyncio.Future[Any]) -> None:
    """Cancel *work* and give it a moment to unwind; it is left behind when it does not."""
    work.cancel()
    await asyncio.wait((work,), timeout=CANCEL_GRACE)
    if work.done() and not work.cancelled():
        work.exception()  # looked at, so that nobody warns of an exception nobody looked at
