"""An attempt on exported metrics: fetched over HTTP from a manager and from daemons that run, and read by a parser nobody here wrote and by the grammar."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duende.config.model import DaemonConfig
from duende.manager import DaemonManager
from duende.manager.control import Control
from duende.manager.protocol import SOCKET_NAME
from duende.states import Phase
from falsification.kit import Trial, attempt
from falsification.workbench import daemon_class, manager_for

SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"(?:,(?!\})|(?=\})))*\})? (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)'
)
"""A line of the exposition format 0.0.4 that is no comment; without a timestamp, which nothing here writes."""
COMMENT = re.compile(
    r"# (?:HELP [a-zA-Z_:][a-zA-Z0-9_:]* (?:[^\\\n]|\\[\\n])*|TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (?:counter|gauge|histogram))"
)


async def nothing() -> None:
    """What a client's shutdown would do."""


async def fetched(path: str, accept: str = "*/*", what: str = "/metrics") -> tuple[str, str]:
    """(content type, text) of GET *what* on a unix socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"GET {what} HTTP/1.1\r\nHost: duende\r\nAccept: {accept}\r\n\r\n".encode())
    raw = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    kind = next(
        line.split(b":", 1)[1].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-type:")
    )
    return kind.decode(), body.decode()


def wrong(text: str) -> Iterator[str]:
    """What of a text does not obey the format: its lines, the order of its families, and what is there twice."""
    seen: set[str] = set()
    families: list[str] = []
    if not text.endswith("\n"):
        yield "the last line has no end"
    for line in text.splitlines():
        if line.startswith("#"):
            if COMMENT.fullmatch(line) is None:
                yield f"no comment that is known: {line}"
            elif line.startswith("# TYPE"):
                families.append(line.split()[2])
            continue
        found = SAMPLE.fullmatch(line)
        if found is None:
            yield f"no sample: {line}"
            continue
        if found[1] + (found[2] or "") in seen:
            yield f"there twice: {line}"
        seen.add(found[1] + (found[2] or ""))
        if not families or re.sub(r"_(?:bucket|sum|count)$", "", found[1]) not in (
            families[-1],
            re.sub(r"_(?:bucket|sum|count)$", "", families[-1]),
        ):
            yield f"not below its TYPE: {line}"
    if len(set(families)) != len(families):
        yield "a family is there twice"


def samples(text: str, parser: Any) -> dict[str, dict[str, float]]:
    """Metric -> daemon -> value, by the parser of prometheus_client, with warnings as errors."""
    found: dict[str, dict[str, float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for family in parser(text):
            for sample in family.samples:
                if "state" not in sample.labels and "le" not in sample.labels:
                    found.setdefault(sample.name, {})[sample.labels.get("daemon", "")] = sample.value
    return found


@attempt(
    "F047", timeout=60, saboteurs=["labels-are-not-escaped", "families-have-no-type", "values-are-pythons"]
)
async def test_the_export_is_valid(trial: Trial) -> None:
    """Of a manager with daemons that run, stopped and failed, and of a Daemon with metrics of its own: every line obeys the format, is read by
    prometheus_client, in Prometheus text and OpenMetrics, and says what is so.
    """
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as prometheus

    from duende.observe.exposition import Family
    from duende.observe.exposition import prometheus as written

    trial.situation("metrics of a manager were fetched", at_least=2)
    trial.situation("metrics of a Daemon were fetched")
    manager = await manager_for(trial)
    path = f"{manager.folders.runtime_dir}/{SOCKET_NAME}"
    control = Control(manager, nothing)
    await control.open()
    trial.defer(control.close)
    manager.register(daemon_class("Waiter", "runs"))
    manager.register(DaemonConfig(name="ends", binary_path="/bin/true"))
    manager.register(
        DaemonConfig(name="never-started", binary_path="/bin/true", description='odd "name" \\ of\tit')
    )
    await manager.start("runs")
    await trial.until(lambda: manager.status("runs").status.phase is Phase.RUNNING, within=20, what="it runs")
    for accept, parser, kind in (
        ("text/plain", prometheus, "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text; version=1.0.0,text/plain;q=0.5",
            openmetrics,
            "application/openmetrics-text; version=1.0.0",
        ),
    ):
        told, text = await fetched(path, accept)
        trial.attach("manager.txt", text)
        trial.check(told.startswith(kind), f"the type is that of what was asked for: {told}")
        if parser is prometheus:
            problems = list(wrong(text))
            trial.check(not problems, f"the manager's obeys the format: {problems[:3]}")
        found = samples(text, parser)
        trial.check(
            found["duende_daemon_up"] == {"runs": 1.0, "ends": 0.0, "never-started": 0.0},
            f"{found['duende_daemon_up']}",
        )
        trial.check(found["duende_daemon_pid"]["runs"] == manager.status("runs").pid, "and says what is so")
        trial.check(found["duende_daemons"][""] == 3.0, "of all of them")
        trial.reached("metrics of a manager were fetched")
    _, text = await fetched(endpoint(manager, "runs"))
    trial.attach("daemon.txt", text)
    problems = list(wrong(text))
    trial.check(not problems, f"the daemon's obeys the format: {problems[:3]}")
    trial.check("daemon_requests_total" in samples(text, prometheus), "and is read")
    trial.reached("metrics of a Daemon were fetched")
    odd = Family("odd", "gauge", "line\nof \\ help", tuple(({"daemon": each}, value) for each, value in ODD))
    text = written([odd])
    problems = list(wrong(text))
    trial.check(not problems, f"whatever a label or a value is: {problems[:3]}")
    back = {daemon: float(value) for daemon, value in samples(text, prometheus)["odd"].items()}
    trial.check(str(back) == str(dict(ODD)), f"and it reads back: {back}")


def endpoint(manager: DaemonManager, name: str) -> str:
    """The socket of a Daemon."""
    return str(Path(manager.folders.runtime_dir) / f"{manager.status(name).daemon_id[:13]}.sock")


ODD = (
    ('"', 0.1),
    ("\\", 1e300),
    ("line\nline", float("inf")),
    ('\\n"', float("-inf")),
    ("ü€", float("nan")),
    ("", 1e-7),
    ("{}=,", 12345678901234.0),
)
"""Labels and values that trip those who write them down carelessly."""
