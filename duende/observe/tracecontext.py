"""W3C Trace Context (Recommendation of 23 November 2021, https://www.w3.org/TR/trace-context/): parsed and generated to the letter.

Section numbers below are those of the Recommendation. What is invalid is a `TraceContextError` for whoever parses; a service that got it begins a new
trace (`continued`), as 4.2 asks.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping

import msgspec

from duende.errors import TraceContextError

VERSION = "00"
MOST_MEMBERS = 32
"""Of tracestate (3.3.1.1)."""
SAMPLED = 1
"""The bit of trace-flags that this version knows (3.2.2.5.1)."""
TRACEPARENT, TRACESTATE = "TRACEPARENT", "TRACESTATE"
"""Environment variables that carry both from a process to those it starts (OpenTelemetry, environment variables as context propagation carriers)."""
# ASCII classes by hand: `\\d` would take digits of other scripts, `$` a newline at the end.
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY = re.compile(r"[a-z][_0-9a-z\-*/]{0,255}|[0-9a-z][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13}")
_VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class TraceContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where in which trace something happens."""

    trace_id: str
    """32 lower-case hexadecimal digits, not all zero."""
    span_id: str
    """16 of the same: "parent-id" in the Recommendation, the caller's own span."""
    flags: int = 0
    """8 bits; only `SAMPLED` is known."""
    state: tuple[tuple[str, str], ...] = ()
    """tracestate: (key, value), the newest first."""

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded the trace."""
        return bool(self.flags & SAMPLED)

    @classmethod
    def new(cls, *, sampled: bool = True) -> TraceContext:
        """The root of a new trace; ids are random (3.2.2.3)."""
        return cls(trace_id=_random(16), span_id=_random(8), flags=SAMPLED if sampled else 0)

    @classmethod
    def parse(cls, traceparent: str, tracestate: str | None = None) -> TraceContext:
        """Read both headers. A tracestate that is invalid is dropped and does not harm the trace (3.3.1); several headers are joined by commas before.

        Raises:
            TraceContextError: the traceparent is invalid.
        """
        found = _PARENT.fullmatch(traceparent)
        if found is None:
            raise TraceContextError(
                traceparent, "it is not VERSION-TRACE-PARENT-FLAGS in lower-case hexadecimal digits"
            )
        version, trace_id, span_id, flags, rest = found.groups()
        if version == "ff":
            raise TraceContextError(traceparent, "version ff is forbidden (3.2.2.1)")
        if version == VERSION and rest is not None:
            raise TraceContextError(traceparent, "version 00 ends after the flags (3.2.2.1)")
        if trace_id == _NO_TRACE:
            raise TraceContextError(traceparent, "a trace-id of zeros is invalid (3.2.2.3)")
        if span_id == _NO_SPAN:
            raise TraceContextError(traceparent, "a parent-id of zeros is invalid (3.2.2.4)")
        # Of a later version only what this one knows is taken, and written again as this one (4.3).
        bits = int(flags, 16)
        state: tuple[tuple[str, str], ...] = ()
        if tracestate:
            try:
                state = parse_tracestate(tracestate)
            except TraceContextError:
                state = ()
        return cls(
            trace_id=trace_id,
            span_id=span_id,
            flags=bits if version == VERSION else bits & SAMPLED,
            state=state,
        )

    @classmethod
    def continued(cls, headers: Mapping[str, str]) -> TraceContext:
        """The context in *headers*, whose names are lower-case; a new trace where there is none, or an invalid one (4.2)."""
        try:
            return cls.parse(headers.get("traceparent", ""), headers.get("tracestate"))
        except TraceContextError:
            return cls.new()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> TraceContext | None:
        """What whoever started this process handed over; None without it."""
        env = os.environ if environ is None else environ
        text = env.get(TRACEPARENT)
        if not text:
            return None
        try:
            return cls.parse(text, env.get(TRACESTATE))
        except TraceContextError:
            return None

    def child(self) -> TraceContext:
        """The context of a span below this one: the same trace, a span of its own."""
        return msgspec.structs.replace(self, span_id=_random(8))

    def with_state(self, key: str, value: str) -> TraceContext:
        """The same with *key* added or changed, as the first member; the last ones go where there are too many (3.3.1.5).

        Raises:
            TraceContextError: key or value are none.
        """
        if _KEY.fullmatch(key) is None:
            raise TraceContextError(key, "this is no key of tracestate (3.3.1.3.1)")
        if _VALUE.fullmatch(value) is None:
            raise TraceContextError(value, "this is no value of tracestate (3.3.1.3.2)")
        rest = tuple(member for member in self.state if member[0] != key)
        return msgspec.structs.replace(self, state=((key, value), *rest)[:MOST_MEMBERS])

    @property
    def traceparent(self) -> str:
        """The header, of version 00; flags that this version does not know are sent as zero (3.2.2.5.2)."""
        return f"{VERSION}-{self.trace_id}-{self.span_id}-{self.flags & SAMPLED:02x}"

    @property
    def tracestate(self) -> str:
        """The other header; empty where it is not to be sent."""
        return ",".join(f"{key}={value}" for key, value in self.state)

    def headers(self) -> dict[str, str]:
        """Both, as they are sent."""
        found = {"traceparent": self.traceparent}
        if self.state:
            found["tracestate"] = self.tracestate
        return found

    def environment(self) -> dict[str, str]:
        """Both for a process that is started."""
        return {name.upper(): text for name, text in self.headers().items()}


def parse_tracestate(text: str) -> tuple[tuple[str, str], ...]:
    """The members of a tracestate, whose empty ones are left out (3.3.1.2).

    Raises:
        TraceContextError: a member is invalid, a key is there twice, or there are more than 32.
    """
    found: dict[str, str] = {}
    for member in text.split(","):
        stripped = member.strip(" \t")  # OWS of RFC 7230
        if not stripped:
            continue
        key, equals, value = stripped.partition("=")
        if not equals or _KEY.fullmatch(key) is None or _VALUE.fullmatch(value) is None:
            raise TraceContextError(member, "this is no member of tracestate (3.3.1.3)")
        if key in found:
            raise TraceContextError(text, f"{key} is there twice (3.3.1.3.1)")
        found[key] = value
    if len(found) > MOST_MEMBERS:
        raise TraceContextError(text, f"it has {len(found)} members; 32 at most (3.3.1.1)")
    return tuple(found.items())


def _random(size: int) -> str:
    while not any(raw := secrets.token_bytes(size)):
        pass  # zeros are no id; once in 2**64
    return raw.hex()
