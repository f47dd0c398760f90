"""The preloaded interpreter: imports what every Python daemon needs once, then forks one for each start.

Single-threaded, with a scrubbed environment and no daemon's data in it. A child gets its settings exactly as a program does (`apply`),
then its own session, descriptors and environment, and runs `duende.host` on the class it was asked for. Its memory pages stay shared with
its siblings until written.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

from duende.adapters.native.warden import wire
from duende.adapters.native.warden.apply import StepError, apply_settings
from duende.adapters.native.warden.confined import confine, enter
from duende.adapters.native.warden.launch import open_groups, open_outputs
from duende.kernel.process import RESET_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def main(fd: int) -> None:
    """Serve requests on *fd*, a sequenced-packet socket held by the warden, until it closes."""
    import asyncio  # noqa: F401  (loaded for the children)

    from duende.host import preloaded  # noqa: F401
    from duende.kernel import prctl

    prctl.set_name("duende-preload")
    os.setpriority(
        os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0))
    )  # its daemons are not the warden
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # midwives leave no zombie; their children go to the warden
    gc.collect()
    gc.freeze()  # collections in the children then never touch, and so never copy, these pages
    while True:
        data = os.read(fd, 1 << 20)
        if not data:
            return
        for _, batch, settings, items in wire.Inbox().feed(data):
            if os.fork() == 0:
                _midwife(fd, batch, settings, items)


def _midwife(fd: int, batch: int, settings: dict[str, Any], items: list[Any]) -> NoReturn:
    code = 70
    try:
        # A daemon that ends before its midwife does must become a zombie for the warden, not vanish with its exit code.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        report: list[tuple[Any, ...]] = []
        try:
            outputs, places = open_outputs(items), open_groups(items)
            apply_settings(settings)
        except StepError as error:
            report = [(item[0], 0, error.errno, error.step, error.about) for item in items]
        else:
            base = settings.get("env") or {}
            for item, output, place in zip(items, outputs, places, strict=True):
                try:
                    pid = os.fork()
                except OSError as error:
                    report.append((item[0], 0, error.errno or 0, "fork", ""))
                    continue
                if pid == 0:
                    _child(item, {**base, **item[3]}, output, place, settings.get("confine") or {})
                report.append((item[0], pid))
        os.write(fd, wire.pack(("spawned", batch, report)))
        code = 0
    finally:
        os._exit(code)


def _child(
    item: Any,
    env: dict[str, str],
    output: tuple[int, int] | None,
    place: list[tuple[int, int]],
    confinement: dict[str, Any],
) -> NoReturn:
    code = 70  # EX_SOFTWARE
    try:
        enter(place)
        for number in RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # As in any interpreter that starts (signal, module documentation): a client that hangs up is an exception, not the end.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        out, err = output if output is not None else (null, null)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.closerange(3, 1 << 20)
        os.environ.clear()
        os.environ.update(env)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        confine(confinement)
        code = _run(item)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  (the last frame of this process: what is not shown here is lost)
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 74  # EX_IOERR
        os._exit(code)


def _run(item: Any) -> int:
    from duende.host import preloaded
    from duende.kernel import prctl

    _, spec, name = item[:3]
    prctl.set_name(name)
    return preloaded.run_preloaded(spec)
