"""Spans: what was done, when, and on whose behalf (W3C Trace Context), kept for whoever asks.

`with spans.span("checkout") as span:` begins one below the current span of this task, or, where there is none, below what the process was started
with (TRACEPARENT in its environment). `span.headers()` goes out with requests, `span.environment()` with processes.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar

import msgspec

from duende.observe import critical
from duende.observe.tracecontext import TraceContext

KEPT = 2000
"""Finished spans kept; the oldest go, and are counted."""
current: ContextVar[TraceContext | None] = ContextVar("duende_trace", default=None)
"""The context of the span that this task is in."""


class SpanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A span that has ended."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the first of a trace."""
    name: str
    service: str
    """The daemon."""
    start: float
    """Unix seconds."""
    end: float
    error: str = ""
    """What was raised in it; empty when nothing was."""
    attributes: dict[str, str] = {}
    sampled: bool = True


class LiveSpan:
    """A span that has begun."""

    def __init__(self, name: str, context: TraceContext, parent_id: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.context = context
        self.parent_id = parent_id
        self.attributes = attributes
        self.error = ""
        self.start = time.time()
        self._began = time.monotonic()

    def set(self, key: str, value: object) -> None:
        """Note something about it."""
        self.attributes[key] = str(value)

    def fail(self, why: object) -> None:
        """Say that it went wrong, where nothing is raised."""
        self.error = str(why)

    def headers(self) -> dict[str, str]:
        """For requests made in it: traceparent, and tracestate where there is one."""
        return self.context.headers()

    def environment(self) -> dict[str, str]:
        """For processes started in it: TRACEPARENT and TRACESTATE."""
        return self.context.environment()

    def ended(self, service: str) -> SpanRecord:
        """What is kept of it. The duration is that of the monotonic clock."""
        return SpanRecord(
            trace_id=self.context.trace_id,
            span_id=self.context.span_id,
            parent_id=self.parent_id,
            name=self.name,
            service=service,
            start=self.start,
            end=self.start + (time.monotonic() - self._began),
            error=self.error,
            attributes=self.attributes,
            sampled=self.context.sampled,
        )


class Spans:
    """The spans of one daemon."""

    def __init__(self, service: str, *, environ: Mapping[str, str] | None = None, keep: int = KEPT) -> None:
        """For the daemon *service*; what it was started with comes from *environ*, by default the process's."""
        self.service = service
        self.origin = TraceContext.from_environment(environ)
        """The span that this process was started in, if any."""
        self.finished: deque[SpanRecord] = deque(maxlen=keep)
        self.dropped = 0
        """Finished spans that are no longer kept."""
        self.on_end: Callable[[SpanRecord], None] | None = None
        """Called with each that ends: an exporter."""

    @contextlib.contextmanager
    def span(
        self, name: str, *, headers: Mapping[str, str] | None = None, **attributes: object
    ) -> Iterator[LiveSpan]:
        """Begin a span; it ends with the block, and notes what is raised in it.

        Args:
            name: what is done.
            headers: those of the request that it is for, with lower-case names; then it goes on in their trace.
            **attributes: what is noted about it.
        """
        parent = self._parent(headers)
        context = parent.child() if parent is not None else TraceContext.new()
        noted = {key: str(value) for key, value in attributes.items()}
        live = LiveSpan(name, context, parent.span_id if parent is not None else "", noted)
        token = current.set(context)
        try:
            yield live
        except BaseException as error:
            live.error = live.error or f"{type(error).__name__}: {error}"
            raise
        finally:
            current.reset(token)
            self._keep(live.ended(self.service))

    def _parent(self, headers: Mapping[str, str] | None) -> TraceContext | None:
        if headers is not None and "traceparent" in headers:
            return TraceContext.continued(headers)
        return current.get() or self.origin

    def _keep(self, record: SpanRecord) -> None:
        if len(self.finished) == self.finished.maxlen:
            self.dropped += 1
        self.finished.append(record)
        if self.on_end is not None:
            self.on_end(record)


def paths(records: Iterable[SpanRecord]) -> list[critical.CriticalPath]:
    """The critical path of each root: a span whose parent is not among *records* (it is another daemon's, or there is none)."""
    known = {record.span_id: record for record in records}
    below: dict[str, list[SpanRecord]] = {}
    roots = []
    for record in known.values():
        if record.parent_id in known and record.parent_id != record.span_id:
            below.setdefault(record.parent_id, []).append(record)
        else:
            roots.append(record)
    found = []
    for root in roots:
        family = [root]
        for record in family:  # which grows while it is walked
            family += below.get(record.span_id, ())
        found.append(critical.critical_path([_timed(record, root) for record in family]))
    return found


def _timed(record: SpanRecord, root: SpanRecord) -> critical.Span:
    parent = "" if record is root else record.parent_id
    return critical.Span(
        span_id=record.span_id, name=record.name, start=record.start, end=record.end, parent_id=parent
    )
