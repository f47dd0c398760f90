"""Sends what a daemon offers to a collector, from a thread of its own. The daemon never waits: what the collector does not take in time is dropped
and counted.
"""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from duende.errors import ConfigError
from duende.observe.exposition import Family
from duende.observe.otlp.sending import GrpcSender, HttpSender, RefusedError, Sender
from duende.observe.spans import SpanRecord

ENDPOINT, PROTOCOL = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"
HEADERS, INTERVAL = "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_METRIC_EXPORT_INTERVAL"
"""Of the OpenTelemetry specification; the last in milliseconds."""
DEFAULT_INTERVAL_S = 60.0
SPAN_DELAY_S = 1.0
"""Seconds for which spans are gathered (the specification's default is 5; `duende trace` users look sooner)."""
MOST_SPANS = 10_000
"""Spans kept for a collector that is down; the oldest are dropped."""
BATCH = 512
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""After a refusal: doubled each time."""


class Exporter:
    """To one collector, of one daemon."""

    def __init__(
        self,
        service: str,
        sender: Sender,
        *,
        collect: Callable[[], Iterable[Family]] | None = None,
        interval: float = DEFAULT_INTERVAL_S,
        keep: int = MOST_SPANS,
    ) -> None:
        """Begin.

        Args:
            service: the daemon's name.
            sender: the way to the collector.
            collect: gives the metrics, every *interval* seconds, from a thread of the exporter's own.
            interval: seconds between two exports of metrics.
            keep: how many spans wait for a collector that is down.
        """
        self.service = service
        self.sent_spans = self.sent_points = 0
        self.dropped_spans = self.dropped_points = 0
        """Given up: the buffer was full, the collector refused them for good, or it was gone at the end."""
        self.trouble = ""
        """Why the last request failed; empty when it did not."""
        self._sender, self._collect, self._interval, self._keep = sender, collect, interval, keep
        self._began = time.time()
        self._spans: deque[SpanRecord] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._wait = 0.0
        self._thread = threading.Thread(target=self._work, name="duende-otlp", daemon=True)
        self._thread.start()

    def offer(self, span: SpanRecord) -> None:
        """Take a span that has ended; never waits."""
        if not span.sampled:
            return
        with self._lock:
            if len(self._spans) >= self._keep:
                self._spans.popleft()
                self.dropped_spans += 1
            self._spans.append(span)
            full = len(self._spans) >= BATCH
        if full and not self._wait:
            self._wake.set()

    def close(self, timeout: float = 2.0) -> None:
        """Send what there is, within *timeout* seconds; what is left is dropped and counted."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        with self._lock:
            self.dropped_spans += len(self._spans)
            self._spans.clear()

    # -- the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        next_metrics = time.monotonic() + min(self._interval, FIRST_WAIT_S)
        while not self._closing:
            self._wake.wait(self._wait or min(SPAN_DELAY_S, max(0.0, next_metrics - time.monotonic())))
            self._wake.clear()
            fine = self._send_spans()
            if time.monotonic() >= next_metrics and not self._closing:
                fine = self._send_metrics() and fine
                next_metrics = time.monotonic() + self._interval
            self._wait = 0.0 if fine else min(max(FIRST_WAIT_S, self._wait * 2), LONGEST_WAIT_S)
        self._send_spans()
        self._send_metrics()
        self._sender.close()

    def _send_spans(self) -> bool:
        from duende.observe.otlp import messages

        while True:
            with self._lock:
                batch = [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]
            if not batch:
                return True
            again = self._sent("traces", messages.spans(batch), len(batch))
            if again:
                with self._lock:
                    room = self._keep - len(self._spans)
                    self.dropped_spans += max(0, len(batch) - room)
                    self._spans.extendleft(reversed(batch[max(0, len(batch) - room) :]))
                return False

    def _send_metrics(self) -> bool:
        from duende.observe.otlp import messages

        if self._collect is None:
            return True
        families = list(self._collect())
        points = sum(len(family.samples) for family in families)
        request = messages.metrics(self.service, families, since=self._began, at=time.time())
        # Metrics are not kept: the next export has the same counters, further on.
        if self._sent("metrics", request, points):
            self.dropped_points += points
            return False
        return True

    def _sent(self, signal: str, request: object, count: int) -> bool:
        """Send; whether to try the same again later."""
        try:
            rejected = self._sender.send(signal, request)
        except RefusedError as error:
            self.trouble = str(error)
            if error.again:
                return True
            rejected = count
        else:
            self.trouble = ""
        if signal == "traces":
            self.sent_spans += count - rejected
            self.dropped_spans += rejected
        else:
            self.sent_points += count - rejected
            self.dropped_points += rejected
        return False


def from_environment(
    service: str,
    *,
    collect: Callable[[], Iterable[Family]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Exporter | None:
    """The exporter that the environment asks for; None where it asks for none.

    Raises:
        ConfigError: it asks for something that there is not; the text names the variable.
    """
    env = os.environ if environ is None else environ
    endpoint = env.get(ENDPOINT, "").strip()
    if not endpoint:
        return None
    protocol = env.get(PROTOCOL, "").strip() or (
        "grpc" if endpoint.rstrip("/").endswith(":4317") else "http/protobuf"
    )
    headers = dict(_pairs(env.get(HEADERS, "")))
    text = env.get(INTERVAL, "").strip()
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise ConfigError(f"{INTERVAL} is {text!r}", remedy="give whole milliseconds, at least 1")
    interval = int(text) / 1e3 if text else DEFAULT_INTERVAL_S
    kinds: dict[str, type[GrpcSender | HttpSender]] = {"grpc": GrpcSender, "http/protobuf": HttpSender}
    if protocol not in kinds:
        raise ConfigError(f"{PROTOCOL} is {protocol!r}", remedy="use grpc or http/protobuf")
    try:
        import opentelemetry.proto.collector.trace.v1.trace_service_pb2  # noqa: F401 - whether it is there

        sender = kinds[protocol](endpoint, headers)
    except ImportError as error:
        raise ConfigError(
            f"{ENDPOINT} is set, and the package of {error.name} is not installed",
            remedy="pip install 'duende[observe]'",
        ) from error
    return Exporter(service, sender, collect=collect, interval=interval)


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            yield name.strip(), urllib.parse.unquote(value.strip())
