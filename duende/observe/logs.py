"""Structured logs: one JSON object a line, with the trace and span that each was written in."""

from __future__ import annotations

import datetime
import logging
import sys
from typing import TextIO

import msgspec

from duende.observe.spans import current

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes every record has; what is beyond was given with `extra`."""


class JsonFormatter(logging.Formatter):
    """time (RFC 3339, UTC), level, logger, message, trace_id and span_id inside a span, error with its traceback, and what came with `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        found: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = current.get()
        if context is not None:
            found |= {"trace_id": context.trace_id, "span_id": context.span_id}
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        for key, value in vars(record).items():
            if key not in STANDARD and key not in found:
                found[key] = value
        return msgspec.json.encode(found, enc_hook=str).decode()


def configure(level: int | str = logging.INFO, stream: TextIO | None = None) -> logging.Handler:
    """Send everything that is logged to *stream* (standard output, where `duende logs` finds it) as JSON; the handler."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    return handler
