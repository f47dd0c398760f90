"""Metrics and spans to an OpenTelemetry collector, by OTLP 1.x over HTTP or gRPC; set up by the environment variables that every OpenTelemetry
program knows (OTEL_EXPORTER_OTLP_ENDPOINT and so on).
"""

from __future__ import annotations

from duende.observe.otlp.exporter import Exporter as Exporter
from duende.observe.otlp.exporter import from_environment as from_environment
