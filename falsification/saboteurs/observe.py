"""Defects of histories, traces and what is made of them."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

RING, CONTEXT = "duende/observe/ring.py", "duende/observe/tracecontext.py"
EXPOSITION = "duende/observe/exposition.py"
ANOMALY, CRITICAL = "duende/observe/anomaly.py", "duende/observe/critical.py"

mutant(
    "ring-counts-on",
    breaks="a full ring says that it holds more and more",
    file=RING,
    old="        if self._size < self.capacity:\n",
    new="        if self._size >= 0:\n",
)
mutant(
    "ring-shifts-its-samples",
    breaks="every sample moves when one comes",
    file=RING,
    old="        self._pack(self._block, place, at, *values)\n",
    new="        self._block[:] = bytes(self._block)\n        self._pack(self._block, place, at, *values)\n",
)
mutant(
    "ring-keeps-what-was-pushed",
    breaks="a list beside the ring grows with it",
    file=RING,
    old="        self._pack(self._block, place, at, *values)\n",
    new='        globals().setdefault("_KEPT", []).append(values)\n        self._pack(self._block, place, at, *values)\n',
)
mutant(
    "ring-copies-itself",
    breaks="every push makes a copy of all samples",
    file=RING,
    old="        self._pack(self._block, place, at, *values)\n",
    new="        bytearray(self._block)\n        self._pack(self._block, place, at, *values)\n",
)
mutant(
    "range-leaves-out-its-end",
    breaks="a sample exactly at the end of a range is not in it",
    file=RING,
    old="self._bisect(end, after=True)",
    new="self._bisect(end, after=False)",
)
mutant(
    "range-leaves-out-its-start",
    breaks="a sample exactly at the start of a range is not in it",
    file=RING,
    old="self._bisect(start, after=False)",
    new="self._bisect(start, after=True)",
)
mutant(
    "ids-are-swapped",
    breaks="the span is read from the trace's digits",
    file=CONTEXT,
    old="        version, trace_id, span_id, flags, rest = found.groups()\n",
    new="        version, trace_id, span_id, flags, rest = found.groups()\n        span_id = trace_id[:16]\n",
)
mutant(
    "version-ff-is-taken",
    breaks="the version that may not be is read as any other",
    file=CONTEXT,
    old='        if version == "ff":\n',
    new='        if version == "fg":\n',
)
mutant(
    "a-later-version-is-refused",
    breaks="only version 00 is read, and traces end at services that are newer",
    file=CONTEXT,
    old='        if version == "ff":\n',
    new='        if version != "00":\n',
)
mutant(
    "unknown-flags-are-sent",
    breaks="flags of which nobody here knows what they mean go on to others",
    file=CONTEXT,
    old="{self.flags & SAMPLED:02x}",
    new="{self.flags:02x}",
)
mutant(
    "child-begins-a-trace",
    breaks="a span below is of a trace of its own",
    file=CONTEXT,
    old="        return msgspec.structs.replace(self, span_id=_random(8))\n",
    new="        return msgspec.structs.replace(self, trace_id=_random(16), span_id=_random(8))\n",
)
mutant(
    "threshold-is-fixed",
    breaks="the threshold can be set, and 3 is used",
    file=ANOMALY,
    old="        if abs(score) < self.threshold:\n",
    new="        if abs(score) < THRESHOLD:\n",
)
mutant(
    "number-hides-itself",
    breaks="a number is taken in before it is scored",
    file=ANOMALY,
    old="        mean, deviation = self._moments()\n        score = self._score",
    new="        self._take(value)\n        mean, deviation = self._moments()\n        score = self._score",
)
mutant(
    "path-goes-by-the-first-child",
    breaks="the path goes through what ended first",
    file=CRITICAL,
    old="            candidate = waiting.pop()\n",
    new="            candidate = waiting.pop(0)\n",
)
mutant(
    "path-stays-at-the-root",
    breaks="children are looked at, and theirs are not",
    file=CRITICAL,
    old="        stack.append((child, began, ended, ended, list(children.get(child.span_id, ()))))\n",
    new="        stack.append((child, began, ended, ended, []))\n",
)
mutant(
    "labels-are-not-escaped",
    breaks="a label with a quote or a line end in it goes out as it is",
    file=EXPOSITION,
    old="    return escaped(value)\n",
    new="    return value\n",
)
mutant(
    "families-have-no-type",
    breaks="the kind of a metric stands in a comment that nobody knows",
    file=EXPOSITION,
    old='        lines.append(f"# TYPE {name} {family.kind}")\n',
    new='        lines.append(f"# KIND {name} {family.kind}")\n',
)
mutant(
    "values-are-pythons",
    breaks="numbers are written as Python writes them",
    file=EXPOSITION,
    old='    if math.isnan(value):\n        return "NaN"\n',
    new='    if value != 0:\n        return str(value)\n    if math.isnan(value):\n        return "NaN"\n',
)
SPANS = "duende/observe/spans.py"
mutant(
    "children-have-traces-of-their-own",
    breaks="what goes out with a request is a new trace",
    file=SPANS,
    old="        return self.context.headers()\n",
    new="        return TraceContext.new().headers()\n",
)
mutant(
    "starts-forget-their-trace",
    breaks="a daemon is started without the trace it is started in",
    file="duende/supervisor.py",
    old="            env=env,\n",
    new="",
)
mutant(
    "requests-begin-anew",
    breaks="the trace that a request came with is not gone on with",
    file=SPANS,
    old='        if headers is not None and "traceparent" in headers:\n',
    new='        if headers is not None and "traceparent" not in headers:\n',
)
mutant(
    "logs-forget-the-trace",
    breaks="lines of the log do not say in which trace they were written",
    file="duende/observe/logs.py",
    old="        context = current.get()\n",
    new="        context = None\n",
)
EXPORTER = "duende/observe/otlp/exporter.py"
mutant(
    "spans-wait-for-ever",
    breaks="spans are gathered and never sent",
    file=EXPORTER,
    old="            fine = self._send_spans()\n",
    new="            fine = True\n",
)
mutant(
    "metrics-go-nowhere",
    breaks="metrics are sent where spans go",
    file="duende/observe/otlp/sending.py",
    old='"metrics": "/v1/metrics"',
    new='"metrics": "/v1/traces"',
)
mutant(
    "the-collector-is-waited-for",
    breaks="a span that ends waits until the collector has answered",
    file=EXPORTER,
    old="        if not span.sampled:\n            return\n",
    new="        if not span.sampled:\n            return\n        time.sleep(0.005)\n",
)
mutant(
    "drops-are-not-counted",
    breaks="spans that do not fit are dropped in silence",
    file=EXPORTER,
    old="                self._spans.popleft()\n                self.dropped_spans += 1\n",
    new="                self._spans.popleft()\n",
)
