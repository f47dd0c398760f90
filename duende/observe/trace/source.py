"""Where in its source a daemon makes its system calls: by stopping at some of them, which costs the daemon time; so only when asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

import msgspec

from duende.errors import TracerFailedError

EACH = 20
"""Calls of each kind that are looked at."""
MORE_S = 20.0
"""Seconds beyond the time given within which the program must have ended."""
SYSTEM = ("libc.so", "libc-", "ld-linux", "ld-musl", "libpthread", "[vdso", "linux-vdso", "linux-gate")
"""Where no daemon's own source is, although its debugging information may be installed."""


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A frame of a stack."""

    function: str
    file: str
    line: int
    module: str = ""

    @property
    def known(self) -> bool:
        """Whether its source is known and is the daemon's own."""
        name = self.module.rpartition("/")[2]
        return bool(self.file) and self.line > 0 and not name.startswith(SYSTEM)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A place that makes a system call."""

    call: str
    stack: tuple[Location, ...]
    """Innermost first."""
    count: int
    """How many of the calls looked at came from here."""

    @property
    def place(self) -> Location | None:
        """The innermost frame whose source is known."""
        return next((each for each in self.stack if each.known), None)

    def __str__(self) -> str:
        place = self.place
        if place is not None:
            return f"{place.file}:{place.line} in {place.function}"
        if not self.stack:
            return "source unknown"
        return f"{self.stack[0].function} in {self.stack[0].module.rpartition('/')[2] or 'no file'}"


def sites(pid: int, seconds: float, numbers: Iterable[int] = (), each: int = EACH) -> list[Site]:
    """Where a process and what is below it make system calls (those of *numbers*, or all), within *seconds*, most frequent first.

    Raises:
        TracerFailedError: it cannot be attached to; the text says what would help.
    """
    line = [sys.executable, "-m", "duende.observe.trace.stops", str(pid), str(seconds), str(each)]
    line += [str(number) for number in numbers]
    try:
        done = subprocess.run(line, capture_output=True, check=False, timeout=seconds + MORE_S)
    except subprocess.TimeoutExpired as error:
        raise TracerFailedError(
            f"looking at process {pid} did not end", remedy="ask for fewer calls"
        ) from error
    found: dict[tuple[str, tuple[Location, ...]], int] = {}
    finished = False
    for raw in done.stdout.splitlines():
        told = json.loads(raw)
        if "problem" in told:
            raise TracerFailedError(told["problem"], remedy=told["remedy"])
        if "calls" in told:
            finished = True
            continue
        stack = tuple(msgspec.convert(frame, Location) for frame in told["frames"])
        found[(told["call"], stack)] = found.get((told["call"], stack), 0) + 1
    if not finished:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise TracerFailedError(
            f"looking at process {pid} broke off: {said[-1] if said else done.returncode}"
        )
    made = [Site(call=call, stack=stack, count=count) for (call, stack), count in found.items()]
    return sorted(made, key=lambda site: -site.count)
