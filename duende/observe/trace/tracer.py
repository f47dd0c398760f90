"""A tracer on a running daemon: attached by the cheapest means allowed, and gone without a trace.

The kernel's own tracer costs about a microsecond a call; strace(1), where that is not allowed, about a hundred. `Report.method` says which it was,
and `Report.instead` why it was not the cheaper.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from duende.errors import TracerFailedError
from duende.observe.anomaly import THRESHOLD, WINDOW, Anomaly, AnomalyDetector
from duende.observe.trace.call import Call, name_of
from duende.observe.trace.instance import Instance
from duende.observe.trace.pairing import Pairing
from duende.observe.trace.patterns import Pattern, PatternFinder
from duende.observe.trace.strace import Strace
from duende.observe.trace.summary import Latency, Summary
from duende.observe.tree import process_tree

INTERVAL = 0.1
"""Seconds between looks at what the kernel has noted: an alert comes within two of them."""
LATE = 4
"""Intervals after which a tracer in the background takes the processor for once."""
NICENESS = 10
"""Of the tracer's thread: a tenth of what another gets beside it."""
KEPT = 500
"""Anomalies kept; those beyond are counted."""
FLOOR_NS = 50_000
"""A call below 50 us stands out of nothing that anybody waits for."""
TRACEFS, STRACE = "tracefs", "strace"


class TracedAnomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A call that took much longer, or much less long, than those before it."""

    call: str
    tid: int
    anomaly: Anomaly
    """Its duration, and that of those before, in seconds."""
    noticed: float
    """When it was flagged, CLOCK_MONOTONIC in seconds."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace found."""

    method: str
    """tracefs or strace."""
    instead: str
    """Why a cheaper method could not be used; empty where none is cheaper."""
    seconds: float
    calls: int
    lost: int
    """Events that nobody saw, because they came faster than they were read."""
    latencies: list[Latency]
    anomalies: list[TracedAnomaly]
    more_anomalies: int
    patterns: list[Pattern]
    heat: list[tuple[int, int, int]]
    """(column of 100 ms, bin of `duende.observe.trace.summary.bin_of`, calls)."""


class Tracer:
    """Traces some processes and what they start, until it is detached."""

    def __init__(
        self,
        pids: Iterable[int],
        *,
        method: str | None = None,
        window: int = WINDOW,
        threshold: float = THRESHOLD,
        on_anomaly: Callable[[TracedAnomaly], None] | None = None,
        on_pattern: Callable[[Pattern], None] | None = None,
        background: bool = False,
    ) -> None:
        """Attach.

        Args:
            pids: processes, each with all its threads.
            method: "tracefs" or "strace"; the cheapest that works unless given.
            window: how many calls of a kind each is compared with.
            threshold: standard deviations at which one stands out.
            on_anomaly: called, from a thread of the tracer's own, as soon as a call stands out.
            on_pattern: the same for patterns.
            background: whether to read only where nobody else wants the processor (SCHED_IDLE, sched(7)). It costs the daemon less, and on a
            machine that has nothing idle alerts come late, and whatever else this interpreter does waits for them: for programs that do nothing else.

        Raises:
            TracerFailedError: no method works; the text says why and what would help.
        """
        self.pids = [pid for pid in pids if pid > 1]
        if not self.pids:
            raise TracerFailedError("there is no process to trace", remedy="start the daemon first")
        self.instead = ""
        self.anomalies: list[TracedAnomaly] = []
        self.more_anomalies = 0
        self.patterns = PatternFinder(on_pattern)
        self.summary = Summary()
        self._window, self._threshold, self._on_anomaly = window, threshold, on_anomaly
        self._detectors: dict[int, AnomalyDetector] = {}
        self._pairing = Pairing()
        self._stop = threading.Event()
        self._problem: BaseException | None = None
        self._lost_before = 0
        self._background = background
        self._source = self._attach(method)
        self.began = time.monotonic()
        self._ended: float | None = None
        self._thread = threading.Thread(target=self._work, name="duende-tracer", daemon=True)
        self._thread.start()

    @property
    def method(self) -> str:
        """How the calls are seen: tracefs or strace."""
        return TRACEFS if isinstance(self._source, Instance) else STRACE

    def detach(self) -> Report:
        """Let go of the daemon; what was found.

        Raises:
            TracerFailedError: tracing broke off before.
        """
        if self._ended is None:
            self._stop.set()
            if self._thread.native_id is not None:
                _step_forth(self._thread.native_id)
            self._thread.join()
            self._ended = time.monotonic()
            self._source.remove()
        if self._problem is not None:
            raise TracerFailedError(f"tracing broke off: {self._problem}") from self._problem
        return self.report()

    def report(self) -> Report:
        """What has been found so far."""
        end = self._ended if self._ended is not None else time.monotonic()
        return Report(
            method=self.method,
            instead=self.instead,
            seconds=end - self.began,
            calls=self.summary.calls,
            lost=self._source.lost,
            latencies=self.summary.latencies(),
            anomalies=list(self.anomalies),
            more_anomalies=self.more_anomalies,
            patterns=list(self.patterns.found),
            heat=sorted((slot, each, count) for (slot, each), count in self.summary.heat.items()),
        )

    def __enter__(self) -> Tracer:  # noqa: PYI034 - no subclasses
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    # -- attaching -------------------------------------------------------------------------------------------

    def _attach(self, method: str | None) -> Instance | Strace:
        if method not in (None, TRACEFS, STRACE):
            raise TracerFailedError(f"there is no method {method!r}", remedy=f"take {TRACEFS} or {STRACE}")
        if method != STRACE:
            try:
                return self._in_kernel()
            except TracerFailedError as error:
                if method is not None:
                    raise
                self.instead = f"{error.problem}"
        try:
            return Strace(self.pids)
        except TracerFailedError as error:
            first = f"{self.instead}; " if self.instead else ""
            raise TracerFailedError(f"{first}{error.problem}", remedy=error.remedy) from error

    def _in_kernel(self) -> Instance:
        made = Instance()
        try:
            if not made.proven():
                raise TracerFailedError(
                    "the kernel knows this process by another number",
                    remedy="trace from outside of the pid namespace",
                )
            known = threads(self.pids)
            if not known:
                raise TracerFailedError(
                    f"process {self.pids[0]} is gone", remedy="look whether the daemon runs"
                )
            self._pairing.followed.update(known)
            made.follow(known)
            # Those that were started between the look and the order are none of theirs in the kernel's eyes.
            later = set(threads(self.pids)) - set(known)
            if later:
                self._pairing.followed.update(later)
                made.follow(later, more=True)
        except BaseException:
            made.remove()
            raise
        return made

    # -- the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        _step_back(threading.get_native_id(), idle=self._background)
        try:
            while not self._stop.is_set():
                self._take(INTERVAL)
            self._take(0.0, last=True)
        except Exception as error:  # noqa: BLE001 - told by `detach`, to whoever waits for the report
            self._problem = error

    def _take(self, wait: float, *, last: bool = False) -> None:
        if isinstance(self._source, Strace):
            for call in self._source.read(wait or INTERVAL):
                self._see(call)
            return
        source, before = self._source, time.monotonic()
        self._stop.wait(wait)
        if self._background and time.monotonic() - before > LATE * wait > 0:
            # Nothing is idle here: alerts go first, for this once.
            _step_forth(threading.get_native_id())
            self._read(source)
            if not self._stop.is_set():  # else whoever detaches waits
                _step_back(threading.get_native_id(), idle=True)
            return
        self._read(source, last=last)

    def _read(self, source: Instance, *, last: bool = False) -> None:
        # What happens from here on may be read from one processor and not from another.
        until = time.monotonic_ns() if not last else 1 << 63
        events = source.read()
        if source.lost != self._lost_before:
            self._lost_before = source.lost
            self.patterns.interrupt()
        for call in self._pairing.calls(events, until):
            self._see(call)

    def _see(self, call: Call) -> None:
        self.summary.add(call)
        self.patterns.add(call)
        detector = self._detectors.get(call.number)
        if detector is None:
            detector = self._detectors[call.number] = AnomalyDetector(self._window, self._threshold)
        end = (call.at + call.duration) / 1e9
        found = detector.observe(call.duration / 1e9, end)
        if found is None or call.duration < FLOOR_NS or found.score < 0:
            return
        if len(self.anomalies) >= KEPT:
            self.more_anomalies += 1
            return
        traced = TracedAnomaly(
            call=name_of(call.number), tid=call.tid, anomaly=found, noticed=time.monotonic()
        )
        self.anomalies.append(traced)
        if self._on_anomaly is not None:
            self._on_anomaly(traced)


def _step_back(tid: int, *, idle: bool) -> None:
    """Give a thread a small share of a busy processor: what it traces should not wait for it."""
    try:
        if idle:
            os.sched_setscheduler(tid, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, tid, NICENESS)  # of a thread, as Linux has it
    except OSError:
        pass  # it is below that already, or gone


def _step_forth(tid: int) -> None:
    """Let it run like any other."""
    try:
        os.sched_setscheduler(tid, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        pass  # this user may not, or it is gone: then it takes longer


def attach(pid: int, **options: Any) -> Tracer:
    """Attach to a process with everything below it. Options are those of `Tracer`.

    Raises:
        TracerFailedError: it is gone, or cannot be traced.
    """
    return Tracer(family(pid), **options)


def family(pid: int) -> list[int]:
    """A process and everything below it.

    Raises:
        TracerFailedError: there is no such process.
    """
    root = process_tree(pid) if pid > 1 else None
    if root is None:
        raise TracerFailedError(f"there is no process {pid}", remedy="look whether the daemon runs")
    return [node.pid for node in root.walk()]


def threads(pids: Iterable[int]) -> list[int]:
    """The threads of processes; those that are gone have none."""
    found: list[int] = []
    for pid in pids:
        try:
            found += [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
    return found
