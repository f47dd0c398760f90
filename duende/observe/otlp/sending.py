"""One request to a collector and its answer, over HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp) or gRPC."""

from __future__ import annotations

import http.client
import urllib.parse
from typing import Any, Protocol

from duende.errors import ConfigError

DEADLINE_S = 10.0
"""Seconds for a request (OTEL_EXPORTER_OTLP_TIMEOUT has the same default)."""
PATHS = {"metrics": "/v1/metrics", "traces": "/v1/traces"}


class RefusedError(Exception):
    """The collector did not take it: `again` says whether a later attempt may succeed."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class Sender(Protocol):
    """A way to a collector."""

    def send(self, signal: str, request: Any) -> int:
        """Send a request ("metrics" or "traces"); how many points or spans in it were rejected.

        Raises:
            RefusedError: it was not taken.
        """

    def close(self) -> None:
        """Hang up."""


class HttpSender:
    """OTLP over HTTP, as binary protobuf."""

    AGAIN = frozenset((429, 502, 503, 504))
    """Answers after which one tries again; after every other one does not."""

    def __init__(self, endpoint: str, headers: dict[str, str]) -> None:
        """For the base URL *endpoint*."""
        self._url = _parsed(endpoint)
        self._headers = {**headers, "Content-Type": "application/x-protobuf", "User-Agent": "duende"}

    def send(self, signal: str, request: Any) -> int:
        """See `Sender.send`.

        Raises:
            RefusedError: it was not taken.
        """
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(
            self._url.hostname or "", self._url.port or (443 if secure else 80), timeout=DEADLINE_S
        )
        try:
            path = self._url.path.rstrip("/") + PATHS[signal]
            connection.request("POST", path, request.SerializeToString(), self._headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise RefusedError(f"{type(error).__name__}: {error}", again=True) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise RefusedError(f"HTTP {answer.status} {answer.reason}", again=answer.status in self.AGAIN)
        return _rejected(signal, body)

    def close(self) -> None:
        """Nothing is held between requests."""


class GrpcSender:
    """OTLP over gRPC."""

    AGAIN = frozenset(
        (
            "CANCELLED",
            "DEADLINE_EXCEEDED",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNAVAILABLE",
            "DATA_LOSS",
            "RESOURCE_EXHAUSTED",
        )
    )

    def __init__(self, endpoint: str, headers: dict[str, str]) -> None:
        """For http://HOST:PORT, or https:// with TLS."""
        import grpc

        url = _parsed(endpoint)
        target = f"{url.hostname}:{url.port or 4317}"
        secure = url.scheme == "https"
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials())
            if secure
            else grpc.insecure_channel(target)
        )
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._error = grpc.RpcError

    def send(self, signal: str, request: Any) -> int:
        """See `Sender.send`.

        Raises:
            RefusedError: it was not taken.
        """
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

        stub = MetricsServiceStub(self._channel) if signal == "metrics" else TraceServiceStub(self._channel)
        try:
            answer = stub.Export(request, timeout=DEADLINE_S, metadata=self._metadata)
        except self._error as error:
            name = error.code().name
            raise RefusedError(f"gRPC {name}: {error.details()}", again=name in self.AGAIN) from error
        return _rejected(signal, answer.SerializeToString())

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _rejected(signal: str, body: bytes) -> int:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if signal == "metrics":
            return int(ExportMetricsServiceResponse.FromString(body).partial_success.rejected_data_points)
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except DecodeError:
        return 0  # it answered 200: what it says beside that is of no use


def _parsed(endpoint: str) -> urllib.parse.SplitResult:
    url = urllib.parse.urlsplit(endpoint)
    try:
        port_makes_sense = url.port is None or url.port > 0
    except ValueError:
        port_makes_sense = False
    if url.scheme not in ("http", "https") or not url.hostname or not port_makes_sense:
        raise ConfigError(
            f"{endpoint!r} is no address of a collector",
            remedy="give http://HOST:4318 or, for gRPC, http://HOST:4317",
        )
    return url
