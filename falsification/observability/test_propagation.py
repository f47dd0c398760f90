"""Attempts on traces and metrics that leave a daemon: from daemon to daemon, and to a collector."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from duende.config.model import DaemonConfig
from duende.manager import DaemonManager
from duende.manager.client import ManagerClient
from duende.manager.control import Control
from duende.observe.otlp import Exporter
from duende.observe.otlp.sending import HttpSender
from duende.observe.spans import Spans
from duende.observe.tracecontext import TraceContext
from falsification.kit import Trial, attempt
from falsification.observability.test_export import endpoint, fetched, nothing
from falsification.workbench import CLASSES, ROOT, daemon_class, manager_for
from fixtures.programs import free_port


def wired(trial: Trial, place: str, onward: str) -> DaemonConfig:
    """A relay that asks the next one."""
    settings = {
        "listen": str(trial.tmp / f"{place}.sock"),
        "next": onward and str(trial.tmp / f"{onward}.sock"),
    }
    return daemon_class("Relay", place, settings=settings)


async def answered(trial: Trial, path: Path, headers: dict[str, str]) -> str:
    """What a relay answers, as soon as it listens."""
    found: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def listens() -> bool:
        try:
            found.append(await asyncio.open_unix_connection(str(path)))
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # not yet: the file of a socket is there before anybody listens
        return True

    await trial.until(listens, within=20, what="the daemon listens", every=0.02)
    reader, writer = found[0]
    writer.write("".join(f"{name}: {value}\n" for name, value in headers.items()).encode() + b"\n")
    told = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return told.decode()


@attempt(
    "F049",
    timeout=60,
    saboteurs=[
        "children-have-traces-of-their-own",
        "starts-forget-their-trace",
        "requests-begin-anew",
        "logs-forget-the-trace",
    ],
)
async def test_trace_context_propagates(trial: Trial) -> None:
    """A request through three daemons, each a process of its own, and a child process of the last; and a start by the command, whose trace the
    daemon goes on with. Every span has the one trace id and the right parent, and so has every line of the logs.
    """
    trial.situation("a request went through three daemons")
    trial.situation("a daemon was started in a trace")
    manager = await manager_for(trial)
    control = Control(manager, nothing)
    await control.open()
    trial.defer(control.close)
    chain = ("front", "middle", "back")
    started = TraceContext.new()
    for place, onward in zip(chain, (*chain[1:], ""), strict=True):
        manager.register(wired(trial, place, onward))
        line = [
            sys.executable,
            "-m",
            "duende",
            "start",
            place,
            "--runtime-dir",
            str(manager.folders.runtime_dir),
        ]
        process = await asyncio.create_subprocess_exec(
            *line, cwd=ROOT, env={**os.environ, **started.environment()}
        )
        trial.check(await asyncio.wait_for(process.wait(), 30) == 0, f"{place} starts")
    asked = TraceContext.new().with_state("vendor", "value")
    child = await answered(trial, trial.tmp / "front.sock", asked.headers())
    above, begun_above = asked.span_id, {each["name"]: each["span_id"] for each in await spans_of(manager)}
    for place in chain:
        _, text = await fetched(endpoint(manager, place), what="/spans")
        trial.attach(f"{place}.json", text)
        spans = {each["name"]: each for each in json.loads(text)["spans"]}
        relay, begin = spans["relay"], spans["begin"]
        trial.check(
            relay["trace_id"] == asked.trace_id,
            f"{place} is in the trace that was asked in: {relay['trace_id']}",
        )
        trial.check(relay["parent_id"] == above, f"{place} is below {above}: {relay['parent_id']}")
        above = relay["span_id"]
        trial.check(
            begin["trace_id"] == started.trace_id,
            f"{place} began in the trace it was started in: {begin['trace_id']}",
        )
        trial.check(
            begin["parent_id"] == begun_above.get(f"start {place}"),
            f"below the manager's span of its start: {begin['parent_id']}",
        )
        logged = [json.loads(each) for each in await manager.logs(place) if each.startswith("{")]
        told = [each.get("trace_id") for each in logged if each["message"] == "asked"]
        trial.check(told == [asked.trace_id], f"{place} logs the trace id: {told}")
        trial.reached("a daemon was started in a trace")
    back = TraceContext.parse(*child.split(" "))
    trial.check(
        (back.trace_id, back.span_id) == (asked.trace_id, above),
        f"the child process is below the last: {child}",
    )
    trial.check(back.state == asked.state, f"with the state as it was: {back.state}")
    trial.reached("a request went through three daemons")


async def spans_of(manager: DaemonManager) -> list[dict[str, Any]]:
    """The manager's own."""

    def ask() -> list[dict[str, Any]]:
        with ManagerClient(str(manager.folders.runtime_dir)) as client:
            found: list[dict[str, Any]] = client.ask("spans")
            return found

    return await asyncio.to_thread(ask)


class Collector:
    """A collector that runs: the one that is installed, or the stand-in; and what it has said it received."""

    def __init__(self, process: asyncio.subprocess.Process, ports: dict[str, int]) -> None:
        self.process = process
        self.ports = ports
        self.text = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        out = self.process.stdout
        while out is not None and (line := await out.readline()):
            self.text += line.decode()

    def received(self, *words: str) -> bool:
        """Whether one request had all these words."""
        return any(all(word in line for word in words) for line in self.text.splitlines())

    async def close(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()
        await self._reading


async def collector_for(trial: Trial, *words: str) -> Collector:
    """One with the trial's life."""
    pipe = asyncio.subprocess.PIPE
    line = [sys.executable, "-m", "fixtures.collector", *words]
    process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    ports = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    made = Collector(process, ports)
    trial.defer(made.close)
    return made


@attempt(
    "F048",
    timeout=90,
    stand_in=["collector"],
    saboteurs=[
        "spans-wait-for-ever",
        "metrics-go-nowhere",
        "the-collector-is-waited-for",
        "drops-are-not-counted",
    ],
)
async def test_otlp_export_works(trial: Trial) -> None:
    """A manager and a daemon, by HTTP and by gRPC: the collector has the metrics, with their values, and the span with its trace id. And with a
    collector that is down: nothing waits, what is dropped is counted, and when it comes up it gets what was kept.
    """
    collector = await collector_for(trial)
    for protocol in ("http", "grpc"):
        endpoint_of = f"http://127.0.0.1:{collector.ports[protocol]}"
        told = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint_of,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }
        home = trial.tmp / protocol
        home.mkdir()
        fleet = home / "fleet.toml"
        env = ", ".join(f'{name} = "{value}"' for name, value in told.items())
        fleet.write_text(
            f'name = "{protocol}-relay"\ndaemon = "{CLASSES}:Relay"\nenv = {{ {env} }}\n[settings]\nlisten = "{home}/relay.sock"\n'
        )
        words = [sys.executable, "-m", "duende", "manager", str(fleet), "--no-keep"]
        words += ["--state-dir", str(home / "s"), "--runtime-dir", str(home / "r")]
        manager = await asyncio.create_subprocess_exec(*words, cwd=ROOT, env={**os.environ, **told})
        asked = TraceContext.new()
        await answered(trial, home / "relay.sock", asked.headers())
        trace = base64.b64encode(bytes.fromhex(asked.trace_id)).decode()
        for what, some in (
            (
                "the manager's metrics",
                (
                    "resourceMetrics",
                    "duende-manager",
                    "duende_daemon_up",
                    f"{protocol}-relay",
                    '"asDouble": 1.0',
                ),
            ),
            (
                "the daemon's metrics",
                ("resourceMetrics", f"{protocol}-relay", "daemon_requests", "daemon_uptime_seconds"),
            ),
            ("the daemon's span", ("resourceSpans", f"{protocol}-relay", trace, '"name": "relay"')),
        ):
            await trial.until(
                lambda some=some, by=protocol: collector.received(f'"by": "{by}"', *some),  # type: ignore[misc]
                within=15,
                what=f"{what} by {protocol} are received",
                every=0.05,
                claimed=True,
            )
            trial.reached(f"a collector was sent to by {protocol}")
        manager.terminate()
        trial.check(await asyncio.wait_for(manager.wait(), 20) == 0, "the manager ends in order")
    trial.attach("received.jsonl", collector.text)
    await _down(trial)


async def _down(trial: Trial) -> None:
    """Nobody listens at first."""
    port = free_port()
    exporter = Exporter("lonely", HttpSender(f"http://127.0.0.1:{port}", {}), keep=100)
    trial.defer(exporter.close)
    spans = Spans("lonely", environ={})
    spans.on_end = exporter.offer
    began = time.monotonic()
    for number in range(1000):
        with spans.span(f"span {number}"):
            pass
    spent = time.monotonic() - began
    trial.check(
        spent < 1, f"1000 spans for a collector that is down take {spent * 1e3:.0f} ms of the daemon's time"
    )
    await trial.until(
        lambda: bool(exporter.trouble), within=10, what="it is told that the collector is down", claimed=True
    )
    trial.check(exporter.dropped_spans == 900, f"900 that do not fit are counted: {exporter.dropped_spans}")
    collector = await collector_for(trial, str(port))
    await trial.until(
        lambda: collector.received('"name": "span 999"'),
        within=30,
        what="what was kept is received",
        every=0.05,
        claimed=True,
    )
    await trial.until(lambda: exporter.sent_spans == 100, within=10, what="all of it", claimed=True)
    trial.reached("a collector was down")
