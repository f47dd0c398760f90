"""The critical path of a trace: the spans that made it take as long as it did.

The path is read from the end: whatever ran last held up its caller, before it what ended last before it began, and so on (the algorithm of
CRISP, Z. Zhang et al., USENIX ATC 2022). Every instant of the root belongs to one span, so that shares add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from duende.errors import ConfigError


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done, in seconds of one clock."""

    span_id: str
    name: str
    start: float
    end: float
    parent_id: str = ""
    """The span that waited for it; empty for the root."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the path in which one span itself was what everything waited for."""

    span_id: str
    name: str
    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


class CriticalPath(msgspec.Struct, frozen=True, kw_only=True):
    """The path through one trace."""

    segments: tuple[Segment, ...]
    """In the order of time; together they are the root."""

    @property
    def total(self) -> float:
        """Seconds: the root's own."""
        return sum(each.duration for each in self.segments)

    @property
    def shares(self) -> dict[str, float]:
        """Name -> seconds that it holds of the path, the largest first."""
        found: dict[str, float] = {}
        for each in self.segments:
            found[each.name] = found.get(each.name, 0.0) + each.duration
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    @property
    def bottleneck(self) -> str:
        """The name that holds most of it."""
        return next(iter(self.shares))


def critical_path(spans: Iterable[Span]) -> CriticalPath:
    """The critical path of one trace. Children that outlive their parent count until it ends; O(n log n).

    Raises:
        ConfigError: there is no root or more than one, a span ends before it begins, an id is there twice, a parent is not among them, or spans are
            each other's parents.
    """
    by_id: dict[str, Span] = {}
    for span in spans:
        if span.span_id in by_id:
            raise ConfigError(f"span {span.span_id!r} is there twice", key="span_id")
        if not span.end >= span.start:
            raise ConfigError(
                f"span {span.name!r} ends at {span.end}, before it begins at {span.start}", key="end"
            )
        by_id[span.span_id] = span
    roots = [span for span in by_id.values() if not span.parent_id]
    if len(roots) != 1:
        raise ConfigError(f"a trace has one root, and here are {len(roots)}", key="parent_id")
    children: dict[str, list[Span]] = {}
    for span in by_id.values():
        if span.parent_id:
            if span.parent_id not in by_id:
                raise ConfigError(
                    f"the parent {span.parent_id!r} of span {span.name!r} is not in the trace",
                    key="parent_id",
                )
            children.setdefault(span.parent_id, []).append(span)
    for found in children.values():
        found.sort(key=lambda span: (span.end, span.start))
    if _reached(roots[0], children) != len(by_id):
        raise ConfigError("spans of the trace are each other's parents", key="parent_id")
    return CriticalPath(segments=tuple(reversed(_backwards(roots[0], children))))


def _backwards(root: Span, children: dict[str, list[Span]]) -> list[Segment]:
    """The segments, last first. A stack instead of recursion: traces are deeper than interpreters like."""
    path: list[Segment] = []
    # (span, where it begins to count, where it ends to count, until where it is still to be told, children not looked at yet)
    stack = [(root, root.start, root.end, root.end, list(children.get(root.span_id, ())))]
    while stack:
        span, start, end, until, waiting = stack.pop()
        child, ended = None, until
        while waiting and child is None:
            candidate = waiting.pop()
            ended = min(candidate.end, end)
            # One that ended after *until* ran beside what the span waited for then, and held up nobody.
            if start < ended <= until and candidate.start < ended:
                child = candidate
        if child is None:
            if until > start:
                path.append(Segment(span_id=span.span_id, name=span.name, start=start, end=until))
            continue
        began = max(child.start, start)
        if until > ended:
            path.append(Segment(span_id=span.span_id, name=span.name, start=ended, end=until))
        stack.append((span, start, end, began, waiting))
        stack.append((child, began, ended, ended, list(children.get(child.span_id, ()))))
    return path


def _reached(root: Span, children: dict[str, list[Span]]) -> int:
    count, waiting = 0, [root]
    while waiting:
        count += 1
        waiting += children.get(waiting.pop().span_id, ())
    return count
