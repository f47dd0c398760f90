"""Start a batch of programs that share their settings, at the speed of posix_spawn.

A short-lived process (the midwife) is forked, applies the settings once, and posix_spawns every program of the batch (vfork class: no
page table is copied, whatever the parent's size). Then it ends, and its children become the warden's, which is their subreaper. This way
limits, user and folder hold before the first instruction, which posix_spawn alone cannot do and a fork for each daemon is 3-5 times slower at.
"""

from __future__ import annotations

import os

from duende.adapters.native.warden import wire
from duende.adapters.native.warden.apply import StepError, apply_settings
from duende.kernel import handlers
from duende.kernel.process import RESET_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BATCH = 64
"""Programs for one midwife: bounds its descriptors, and lets two of them work side by side."""


def load_confined(settings: dict[str, Any]) -> None:
    """Load, in the warden, what daemons with *settings* are confined by: once, and not in each of the short-lived processes, which took longer for
    it than for everything else.
    """
    from duende.adapters.native.warden import confined

    confined.load(settings.get("confine") or {})


def start_midwife(batch: int, settings: dict[str, Any], items: list[Any]) -> tuple[int, int]:
    """Fork the process that starts *items*; gives its pid and the descriptor its report comes from.

    Raises:
        OSError: no process or descriptor is to be had.
    """
    if settings.get("limits"):
        import resource  # noqa: F401 (loaded here once, instead of in each of the short-lived processes)
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid == 0:
        _in_midwife(writing, None, (batch, settings, items))
    os.close(writing)
    return pid, reading


def start_spare(settings: dict[str, Any] | None) -> tuple[int, int, int]:
    """Fork a process that waits for one order (batch, settings, items); gives its pid, where the order goes and where its report comes from.

    With *settings* it applies those at once, and its order has None in their place. It ends when the other end of the orders is closed.
    Raises as `start_midwife` does.
    """
    pipes: list[int] = []
    try:
        pipes += os.pipe()
        pipes += os.pipe()
        pid = os.fork()
    except OSError:
        for fd in pipes:
            os.close(fd)
        raise
    listening, orders, reading, writing = pipes
    if pid == 0:
        _in_midwife(writing, listening, None, settings)
    os.close(listening)
    os.close(writing)
    return pid, orders, reading


def _in_midwife(writing: int, listening: int | None, order: Any, ahead: dict[str, Any] | None = None) -> None:
    """Body of the forked process; never returns."""
    code = 70  # EX_SOFTWARE: the report below was not written
    try:
        handlers.no_wakeup()
        low = 3
        for kept in sorted({writing, writing if listening is None else listening}):
            os.closerange(low, kept)
            low = kept + 1
        os.closerange(low, 1 << 20)
        if ahead is not None:
            apply_settings(ahead)
            _warm_up(ahead)
        if listening is not None:
            order = _read_order(listening)
        if order is not None:
            batch, settings, items = order
            report = (
                deliver(settings, items)
                if ahead is None
                else spawn(ahead, items, open_outputs(items), open_groups(items))
            )
            write_all(writing, wire.pack(("spawned", batch, report)))
        code = 0
    finally:
        os._exit(code)


def _read_order(fd: int) -> Any:
    inbox = wire.Inbox()
    while data := os.read(fd, 1 << 16):
        for order in inbox.feed(data):
            return order
    return None


def deliver(settings: dict[str, Any], items: list[Any]) -> list[tuple[Any, ...]]:
    """In the midwife: apply, spawn, and say for each item (id, pid) or (id, 0, errno, step, about)."""
    try:
        outputs, places = open_outputs(items), open_groups(items)
        apply_settings(settings)
    except StepError as error:
        return [(item[0], 0, error.errno, error.step, error.about) for item in items]
    return spawn(settings, items, outputs, places)


def _warm_up(settings: dict[str, Any]) -> None:
    """Go the way of a start once, as far as a program that does not exist: what is written to on it is copied from the warden now."""
    nothing: tuple[Any, ...] = ("", "/dev/null/nothing", ["nothing"], {}, "")
    wire.pack(("spawned", 0, spawn(settings, [nothing], [None], [[]])))


def spawn(
    settings: dict[str, Any],
    items: list[Any],
    outputs: list[tuple[int, int] | None],
    places: list[list[tuple[int, int]]],
) -> list[tuple[Any, ...]]:
    """In the midwife, when *settings* are applied: spawn each item, and say (id, pid) or (id, 0, errno, step, about)."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    base = settings.get("env") or {}
    report: list[tuple[Any, ...]] = []
    confinement = settings.get("confine")
    for item, output, place in zip(items, outputs, places, strict=True):
        daemon_id, path, argv, extra = item[:4]
        out, err = output if output is not None else (null, null)
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, err, 2),
        ]
        env = {**base, **extra}
        try:
            if confinement or place:
                from duende.adapters.native.warden import (
                    confined,
                )  # brings enum with it: only where it is needed

                pid = 0 if confinement else confined.start_within(place, path, argv, env, actions)
                pid = pid or confined.start(place, path, argv, env, (null, out, err), confinement)
                report.append((daemon_id, pid))
                continue
            pid = os.posix_spawn(
                path,
                argv,
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=RESET_SIGNALS,
            )
        except OSError as error:
            report.append((daemon_id, 0, error.errno or 0, "exec", path))
        else:
            report.append((daemon_id, pid))
    return report


def open_groups(items: list[Any]) -> list[list[tuple[int, int]]]:
    """Open the files through which each item enters its control group, and those of the groups above, while the rights to do so are still held: the
    kernel goes by the rights of whoever opened (Linux 5.16).

    Raises:
        StepError: a group is not there.
    """
    found: list[list[tuple[int, int]]] = []
    for item in items:
        found.append([])
        for path in item[5] if len(item) > 5 else ():
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                above = os.open(path.rsplit("/", 2)[0] + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            except OSError as error:
                raise StepError(error.errno or 0, "cgroup", path) from error
            found[-1].append((fd, above))
    return found


def open_outputs(items: list[Any]) -> list[tuple[int, int] | None]:
    """Open where each item's output goes, while the rights to do so are still held; None is /dev/null.

    A log pipe is opened for reading and writing: the daemon then holds a reader of its own, so that writing never raises SIGPIPE,
    whoever else dies (fifo(7)).

    Raises:
        StepError: a log pipe cannot be opened.
    """
    outputs: list[tuple[int, int] | None] = []
    for item in items:
        where = item[4]
        if where == "inherit":
            outputs.append((1, 2))
        elif where:
            try:
                fd = os.open(where, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                raise StepError(error.errno or 0, "log", where) from error
            outputs.append((fd, fd))
        else:
            outputs.append(None)
    return outputs


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data* to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
