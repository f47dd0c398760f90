"""Families of metrics and spans as OTLP messages, by the classes of the package opentelemetry-proto. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from duende.observe.exposition import Family
from duende.observe.spans import SpanRecord

SCOPE = InstrumentationScope(name="duende")
UNITS = {"seconds": "s", "bytes": "By"}
"""Ours -> UCUM, which OTLP has its units in."""


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]


def _resource(service: str) -> Resource:
    return Resource(attributes=_attributes({"service.name": service}))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def metrics(
    service: str, families: Iterable[Family], *, since: float, at: float
) -> ExportMetricsServiceRequest:
    """The request that carries *families*, counted *since* and read *at* (Unix seconds)."""
    made = []
    for family in families:
        points = [
            NumberDataPoint(
                attributes=_attributes(labels),
                start_time_unix_nano=_nanoseconds(since) if family.kind == "counter" else 0,
                time_unix_nano=_nanoseconds(at),
                as_double=value,
            )
            for labels, value in family.samples
        ]
        metric = Metric(name=family.name, description=family.help, unit=UNITS.get(family.unit, family.unit))
        if family.kind == "counter":
            cumulative = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            metric.sum.CopyFrom(
                Sum(data_points=points, aggregation_temporality=cumulative, is_monotonic=True)
            )
        else:
            metric.gauge.CopyFrom(Gauge(data_points=points))
        made.append(metric)
    scoped = ScopeMetrics(scope=SCOPE, metrics=made)
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=_resource(service), scope_metrics=[scoped])]
    )


def spans(records: Iterable[SpanRecord]) -> ExportTraceServiceRequest:
    """The request that carries *records*, sorted by the daemon they are of."""
    by_service: dict[str, list[Span]] = {}
    for record in records:
        status = Status(code=Status.STATUS_CODE_ERROR, message=record.error) if record.error else Status()
        by_service.setdefault(record.service, []).append(
            Span(
                trace_id=bytes.fromhex(record.trace_id),
                span_id=bytes.fromhex(record.span_id),
                parent_span_id=bytes.fromhex(record.parent_id),
                name=record.name,
                kind=Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=_nanoseconds(record.start),
                end_time_unix_nano=_nanoseconds(record.end),
                attributes=_attributes(record.attributes),
                status=status,
                flags=int(record.sampled),
            )
        )
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(resource=_resource(service), scope_spans=[ScopeSpans(scope=SCOPE, spans=found)])
            for service, found in by_service.items()
        ]
    )
