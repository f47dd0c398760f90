"""What a context makes when it is first asked for, so that daemons which never ask do not load it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from duende.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.config.policy import PolicyConfig
    from duende.daemon import Daemon, DaemonContext
    from duende.observe.exposition import Family
    from duende.observe.otlp import Exporter
    from duende.observe.spans import Spans
    from duende.policy.live import LivePolicy


def policy(config: PolicyConfig, tripped: Callable[[], None]) -> LivePolicy:
    """Circuit breakers and the like; *tripped* is called when one opens."""
    from duende.policy.live import LivePolicy

    return LivePolicy(config, tripped)


def exporter(
    service: str, spans: Callable[[], Spans], collect: Callable[[], Iterable[Family]]
) -> Exporter | None:
    """What sends *spans*, and the metrics that *collect* gives, to the collector that the environment names; None where it names none, or something
    that there is not: that is told, and whoever asked goes on without.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    from duende.observe.otlp import from_environment

    try:
        made = from_environment(service, collect=collect)
    except ConfigError as error:
        sys.stderr.write(f"duende: {service}: nothing is exported: {error}\n")
        return None
    if made is not None:
        spans().on_end = made.offer
    return made


def exporter_of(daemon: Daemon, context: DaemonContext) -> Exporter | None:
    """The same for a daemon's own metrics and spans."""
    name = context.config.name

    def collect() -> list[Family]:
        from duende.observe.daemons import families_of

        return families_of(daemon.metrics, name)

    return exporter(name, lambda: context.spans, collect)


def spans(name: str) -> Spans:
    """The spans of the daemon *name*, below what its environment says."""
    from duende.observe.spans import Spans

    return Spans(name)
