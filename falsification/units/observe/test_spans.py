"""Spans, the logs written in them, and their way to a collector."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from duende.config.model import DaemonConfig
from duende.daemon import DaemonContext
from duende.errors import ConfigError, StateError
from duende.host import lazily
from duende.metrics import DaemonMetrics
from duende.observe import logs
from duende.observe.daemons import families_of
from duende.observe.exposition import Family
from duende.observe.otlp import Exporter, from_environment, messages
from duende.observe.otlp.exporter import MOST_SPANS
from duende.observe.otlp.sending import GrpcSender, HttpSender, RefusedError
from duende.observe.spans import SpanRecord, Spans, current, paths
from duende.observe.tracecontext import TraceContext


def test_spans_are_below_each_other() -> None:
    """Across tasks too; the first is below what the process was started with."""
    origin = TraceContext.new()
    spans = Spans("web", environ=origin.environment())

    async def work() -> None:
        with spans.span("outer") as outer:

            async def inner(name: str) -> None:
                with spans.span(name, size=3):
                    await asyncio.sleep(0)

            await asyncio.gather(inner("a"), inner("b"))
            assert outer.headers()["traceparent"] == outer.context.traceparent

    asyncio.run(work())
    found = {record.name: record for record in spans.finished}
    assert {record.trace_id for record in found.values()} == {origin.trace_id}
    assert found["outer"].parent_id == origin.span_id
    assert found["a"].parent_id == found["b"].parent_id == found["outer"].span_id
    assert found["a"].attributes == {"size": "3"}
    assert current.get() is None
    (path,) = paths(spans.finished)
    assert path.total == pytest.approx(found["outer"].end - found["outer"].start)
    assert paths([]) == []


def test_what_goes_wrong_in_a_span() -> None:
    """Is noted, and goes on; what is said without raising too. The oldest go, and are counted."""
    spans = Spans("web", environ={}, keep=2)
    with pytest.raises(ValueError, match="no"), spans.span("raises"):
        raise ValueError("no")
    assert spans.finished[0].error == "ValueError: no"
    with spans.span("fails") as span:
        span.set("code", 500)
        span.fail("HTTP 500")
    assert (spans.finished[1].error, spans.finished[1].attributes) == ("HTTP 500", {"code": "500"})
    with spans.span("third"):
        pass
    assert (len(spans.finished), spans.dropped) == (2, 1)


def test_a_request_with_a_broken_traceparent() -> None:
    """Begins a trace, as the recommendation says (4.2)."""
    spans = Spans("web", environ={})
    with spans.span("one", headers={"traceparent": "nonsense"}) as span:
        assert span.context.trace_id
    with spans.span("two", headers={}) as span:
        assert span.parent_id == ""


def test_logs_are_json_with_the_trace() -> None:
    """And with errors, and what came with `extra`, whatever it is."""
    stream = io.StringIO()
    handler = logs.configure(logging.INFO, stream)
    spans = Spans("web", environ={})
    try:
        with spans.span("work") as span:
            logging.getLogger("shop").info("sold %s", "tea", extra={"price": 3, "odd": object})
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("shop").exception("went wrong")
    finally:
        logging.getLogger().removeHandler(handler)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["level"], first["logger"], first["price"]) == (
        "sold tea",
        "INFO",
        "shop",
        3,
    )
    assert (first["trace_id"], first["span_id"]) == (span.context.trace_id, span.context.span_id)
    assert first["time"].endswith("Z")
    assert "trace_id" not in second
    assert "ValueError: broken" in second["error"]


def test_the_messages_of_otlp() -> None:
    """Have what the families and the spans have."""
    metrics = DaemonMetrics()
    metrics.record_request(0.5, error=True)
    metrics.set("level", 7)
    metrics.add("sales_total", 2)
    told = MessageToDict(messages.metrics("web", families_of(metrics, "web"), since=1, at=2))
    scoped = told["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    found: dict[str, Any] = {each["name"]: each for each in scoped}
    assert found["daemon_requests"]["sum"]["isMonotonic"] is True
    point = found["daemon_requests"]["sum"]["dataPoints"][0]
    assert (point["asDouble"], point["startTimeUnixNano"], point["timeUnixNano"]) == (
        1.0,
        "1000000000",
        "2000000000",
    )
    assert found["daemon_memory_bytes"]["unit"] == "By"
    assert found["daemon_level"]["gauge"]["dataPoints"][0]["asDouble"] == 7.0
    spans = Spans("web", environ={})
    with pytest.raises(ValueError, match="x"), spans.span("fails"):
        raise ValueError("x")
    request = messages.spans(spans.finished)
    assert request.resource_spans[0].resource.attributes[0].value.string_value == "web"
    sent = request.resource_spans[0].scope_spans[0].spans[0]
    assert (sent.trace_id.hex(), sent.status.message) == (spans.finished[0].trace_id, "ValueError: x")


class Scripted:
    """A collector of few words: each request gets the next answer, the last for ever."""

    def __init__(self, *answers: int | RefusedError) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []
        self.changed = threading.Event()
        self.closed = False

    def send(self, signal: str, _: Any) -> int:
        """Answer."""
        self.seen.append(signal)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.changed.set()
        if isinstance(answer, RefusedError):
            raise answer
        return answer

    def close(self) -> None:
        """Note it."""
        self.closed = True


def record(number: int, *, sampled: bool = True) -> SpanRecord:
    """A span."""
    return SpanRecord(
        trace_id="a" * 32,
        span_id=f"{number + 1:016x}",
        parent_id="",
        name=str(number),
        service="s",
        start=0,
        end=1,
        sampled=sampled,
    )


def test_what_is_sent_rejected_and_dropped_is_counted() -> None:
    """Rejected by the collector, refused for good, not sampled, and what was left at the end."""
    collector = Scripted(2)
    exporter = Exporter(
        "s", collector, collect=lambda: [Family("m", "gauge", "", (({}, 1.0),))], interval=1000
    )
    for number in range(5):
        exporter.offer(record(number))
    exporter.offer(record(9, sampled=False))
    exporter.close()
    assert (exporter.sent_spans, exporter.dropped_spans) == (3, 2)
    assert set(collector.seen) == {"traces", "metrics"}
    assert collector.closed
    refused = Exporter("s", Scripted(RefusedError("HTTP 400", again=False)))
    refused.offer(record(1))
    refused.close()
    assert (refused.sent_spans, refused.dropped_spans, refused.trouble) == (0, 1, "HTTP 400")


def test_a_collector_that_is_down_keeps_what_fits() -> None:
    """The newest, in order."""
    collector = Scripted(RefusedError("down", again=True))
    exporter = Exporter("s", collector, keep=3)
    for number in range(3):
        exporter.offer(record(number))
    assert collector.changed.wait(10)
    for number in range(3, 5):
        exporter.offer(record(number))
    exporter.close()
    assert exporter.dropped_spans == 5
    assert exporter.sent_spans == 0
    assert exporter.trouble == "down"


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "no address"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:99999"}, "no address"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "http/protobuf",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "milliseconds"),
    ],
)
def test_an_environment_that_makes_no_sense(environ: dict[str, str], word: str) -> None:
    """Is told."""
    with pytest.raises(ConfigError, match=word):
        from_environment("s", environ=environ)


def test_the_environment_chooses() -> None:
    """Nothing, HTTP, or gRPC by the port that it has."""
    assert from_environment("s", environ={}) is None
    for environ, kind in (
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c,=,x",
            },
            HttpSender,
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, GrpcSender),
    ):
        exporter = from_environment("s", environ=environ)
        assert exporter is not None
        assert isinstance(exporter._sender, kind)
        exporter.close()
    assert MOST_SPANS > 0


def test_collectors_that_are_not_there() -> None:
    """Are no reason to end: a later attempt may succeed."""
    with pytest.raises(RefusedError, match="refused") as caught:
        HttpSender("http://127.0.0.1:1", {}).send("traces", messages.spans([record(1)]))
    assert caught.value.again
    sender = GrpcSender("http://127.0.0.1:1", {"Api-Key": "x"})
    with pytest.raises(RefusedError, match="UNAVAILABLE") as caught:
        sender.send("traces", messages.spans([record(1)]))
    assert caught.value.again
    sender.close()


def test_a_context_without_a_host() -> None:
    """Has no spans, and says so."""
    with pytest.raises(StateError, match="no host"):
        _ = DaemonContext(DaemonConfig(name="x", binary_path="/bin/true")).spans


def test_a_host_runs_without_a_collector_there_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says why nothing is exported."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")
    context = DaemonContext(DaemonConfig(name="x", binary_path="/bin/true"))
    context.make_spans = lambda: lazily.spans("x")
    assert lazily.exporter("x", lambda: context.spans, list) is None
    assert "nothing is exported" in capsys.readouterr().err
    assert context.spans is context.spans
