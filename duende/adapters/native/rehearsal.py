"""A rehearsal: one start of a daemon under a filter that notes what its profile forbids, and ends nobody.

Everything else is as at a real start: user, limits, folder, files, capabilities. The process that notes is a subreaper of its own, so nothing of
the daemon is left when it ends (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from duende.adapters.contract import SpawnRequest
from duende.adapters.native.logs import tail
from duende.adapters.native.render import Renderer
from duende.adapters.native.warden.apply import StepError, apply_settings
from duende.adapters.native.warden.confined import confine
from duende.adapters.native.warden.start import ROOT
from duende.config.model import DaemonConfig, PlatformSection
from duende.errors import NotSupportedError, PlatformError, SpawnError
from duende.ids import DaemonId
from duende.kernel import pidfd, prctl, seccomp
from duende.kernel.process import RESET_SIGNALS, children_of
from duende.policy.security.profiles import TABLES, filter_of
from duende.states import ProcessExit

GRACE = 10.0
"""Seconds that the helper may take beyond the rehearsal and the daemon's own time for an end."""
HANDED_OVER = 5.0
"""Seconds until the child's listener must have been taken over."""
ROUNDS = 200
"""How often what a daemon leaves behind is looked for."""


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen."""

    calls: dict[str, int]
    """System calls that the profile forbids, in the order in which they were first made, and how often they were."""
    ready_after: float | None = None
    """Seconds until it said READY=1; None when it did not."""
    exit: str = ""
    """How it ended before its time, empty when it had to be ended."""
    words: tuple[str, ...] = ()
    """The last lines of its output, where it ended before its time."""


def rehearse(config: DaemonConfig, seconds: float) -> Rehearsal:
    """Start *config*'s daemon once, for so many seconds, and end it.

    Raises:
        NotSupportedError: this kernel has no filters that note.
        SpawnError: it could not be started at all.
        PlatformError: the rehearsal itself failed.
    """
    if sys.platform != "linux" or os.uname().machine not in TABLES:
        raise NotSupportedError("native", f"filter system calls on {sys.platform} {os.uname().machine}")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from duende.adapters.native.rehearsal import main; sys.exit(main(float(sys.argv[2])))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, ROOT, str(seconds)],
            input=msgspec.json.encode(config),
            capture_output=True,
            timeout=seconds + config.shutdown_timeout + GRACE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"the rehearsal of {config.name!r} did not end within {error.timeout:g} s"
        ) from error
    try:
        answer: dict[str, Any] = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise PlatformError(f"the rehearsal of {config.name!r} failed: {said[-1]}") from error
    if "error" in answer:
        raise SpawnError(f"cannot rehearse {config.name!r}: {answer['error']}", step=answer["step"])
    return msgspec.convert(answer, Rehearsal)


def main(seconds: float) -> int:
    """Body of the helper: a configuration on its standard input, a `Rehearsal` on its standard output."""
    config = msgspec.json.decode(sys.stdin.buffer.read(), type=DaemonConfig)
    prctl.set_child_subreaper()
    with tempfile.TemporaryDirectory(prefix="duende-rehearsal-") as folder:
        try:
            answer = msgspec.json.encode(_Stage(config, folder).play(seconds))
        except (StepError, OSError, PlatformError) as error:
            step = getattr(error, "step", "start") or "start"
            answer = msgspec.json.encode({"error": str(error), "step": step})
        finally:
            _end_all()
    sys.stdout.buffer.write(answer)
    return 0


class _Stage:
    """One daemon, its listener, and what is noted."""

    def __init__(self, config: DaemonConfig, folder: str) -> None:
        self.config = config
        self.folder = folder
        self.calls: dict[str, int] = {}
        self.ready_after: float | None = None
        self._names = {number: name for name, number in TABLES[os.uname().machine].items()}
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def play(self, seconds: float) -> Rehearsal:
        """Start, note, end."""
        plain = msgspec.structs.replace(self.config, platform=PlatformSection(native={"preload": False}))
        renderer = Renderer(self.folder, self.folder, dict(os.environ))
        self._notify.bind(renderer.notify_path)
        os.chmod(self.folder, 0o711)  # noqa: S103  (a daemon of another user makes its socket there)
        os.chmod(renderer.notify_path, 0o666)  # noqa: S103
        launch = renderer.render(SpawnRequest(daemon_id=str(DaemonId.new()), config=plain))
        _, path, argv, extra, _ = launch.item
        env = {**launch.settings["env"], **extra, "NOTIFY_SOCKET": renderer.notify_path}
        packed = filter_of(self.config.security, os.uname().machine, noting=True)
        log = os.open(f"{self.folder}/output", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        began = time.monotonic()
        pid, listener = _start(launch.settings, packed, path, argv, env, log)
        watched = os.pidfd_open(pid)
        self._note(listener, watched, began, began + seconds)
        ended = _ended(watched)
        if ended is None:
            signal.pidfd_send_signal(watched, signal.SIGTERM)
            self._note(listener, watched, began, time.monotonic() + self.config.shutdown_timeout)
        words = tuple(tail(f"{self.folder}/output", 5)) if ended is not None else ()
        exit_text = "" if ended is None else str(ended)
        return Rehearsal(calls=self.calls, ready_after=self.ready_after, exit=exit_text, words=words)

    def _note(self, listener: int, watched: int, began: float, until: float) -> None:
        """Note calls until the daemon has ended, or *until* then."""
        poller = select.poll()
        for fd in (listener, watched, self._notify.fileno()):
            poller.register(fd, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            events = dict(poller.poll(1000 * left))
            if events.get(listener, 0) & select.POLLIN:
                self._one(listener)
            if self._notify.fileno() in events:
                lines = self._notify.recv(4096).split(b"\n")
                if b"READY=1" in lines and self.ready_after is None:
                    self.ready_after = time.monotonic() - began
            if watched in events and not events.get(listener, 0) & select.POLLIN:
                return

    def _one(self, listener: int) -> None:
        try:
            call, number = seccomp.next_call(listener)
            name = self._names.get(number, f"number {number}")
            self.calls[name] = self.calls.get(name, 0) + 1
            seccomp.let_pass(listener, call)
        except OSError as error:
            if error.errno != errno.ENOENT:  # whoever made it was killed meanwhile
                raise


def _start(
    settings: dict[str, Any], packed: bytes, path: str, argv: Sequence[str], env: dict[str, str], log: int
) -> tuple[int, int]:
    """The daemon's pid, and the listener of its filter; 0 without a filter.

    Raises:
        SpawnError: a step of the start failed.
    """
    told, telling = os.pipe()
    waiting, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.close(go)
        _child(settings, packed, path, argv, env, log, telling, waiting)
    os.close(telling)
    os.close(waiting)
    try:
        word = os.read(told, 512).decode()
        if not word.isdecimal():
            raise SpawnError(word or "it ended during its start", step="start")
        watched = os.pidfd_open(pid)
        try:
            listener = pidfd.descriptor_of(watched, int(word))
        finally:
            os.close(watched)
        os.write(go, b"!")
        if failed := os.read(told, 512).decode():  # closed by execve
            raise SpawnError(failed, step="exec")
        return pid, listener
    finally:
        os.close(told)
        os.close(go)


def _child(
    settings: dict[str, Any], packed: bytes, path: str, argv: Sequence[str], env: dict[str, str], log: int, telling: int, waiting: int
) -> NoReturn:  # fmt: skip
    try:
        prctl.set_death_signal(signal.SIGKILL)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for each in RESET_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        apply_settings(settings)
        confine({key: value for key, value in settings.get("confine", {}).items() if key != "filter"})
        prctl.set_no_new_privs()
        listener = seccomp.install(packed, listen=True)
        os.write(telling, str(listener).encode())
        os.read(waiting, 1)
        os.execve(path, list(argv), env)
    except (OSError, StepError) as error:
        os.write(telling, f"{path}: {error}".encode()[:512])
    finally:
        os._exit(70)


def _ended(watched: int) -> ProcessExit | None:
    """How the process of a pidfd ended, None while it lives."""
    poller = select.poll()
    poller.register(watched, select.POLLIN)
    return pidfd.exit_of(watched) if poller.poll(0) else None


def _end_all() -> None:
    """KILL every process that descends from this one: what loses its parent comes to it. Only its own children are signalled, whose numbers are
    theirs until they are waited for.
    """
    for _ in range(ROUNDS):
        living = [pid for pid in children_of(os.getpid()) if pid > 1]
        if not living:
            return
        for pid in living:
            watched = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(watched, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended, and waits to be waited for
            finally:
                os.close(watched)
            os.waitpid(pid, 0)
