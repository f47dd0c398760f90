"""Metrics as text, read back by parsers nobody here wrote; over the manager's socket as HTTP, and by the command."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from duende.manager.metrics import families_of
from duende.manager.scraping import answered
from duende.manager.view import DaemonView
from duende.observe.exposition import OPENMETRICS, PROMETHEUS, Family, negotiated, openmetrics, prometheus
from duende.states import DaemonStatus, HealthStatus, Phase

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
NUMBERS = st.floats(allow_nan=False)


@given(st.lists(st.tuples(TEXT, NUMBERS), max_size=5, unique_by=lambda pair: pair[0]), TEXT)
def test_whatever_is_written_is_read_back(samples: list[tuple[str, float]], text: str) -> None:
    """Labels and numbers, in both formats."""
    family = Family("a_metric", "gauge", text, tuple(({"daemon": label}, value) for label, value in samples))
    for write, read in ((prometheus, read_prometheus), (openmetrics, read_openmetrics)):
        (found,) = list(read(write([family]))) or [None]
        if samples or found is not None:
            assert found is not None
            assert [(each.labels["daemon"], float(each.value)) for each in found.samples] == samples


def view(name: str, **fields: Any) -> DaemonView:
    """A daemon as the manager sees it."""
    plain = {
        "daemon_id": "i", "status": DaemonStatus(Phase.RUNNING), "pid": 7, "restarts": 2, "wanted": "up", "since": 100.0, "next_restart_in": None,
        "last_exit": None, "health": None, "note": "", "version": "1", "description": "",
    }  # fmt: skip
    return DaemonView(name=name, **{**plain, **fields})


def test_what_the_manager_knows() -> None:
    """States, restarts, health and times; nothing where nothing is known."""
    views = [
        view("web", health=HealthStatus.healthy(1)),
        view("old", status=DaemonStatus(Phase.STOPPED), pid=0, since=None, wanted="down"),
    ]
    text = prometheus(families_of(views, now=160.0))
    found = {
        (each.name, each.labels.get("daemon", ""), each.labels.get("state", "")): each.value
        for family in read_prometheus(text)
        for each in family.samples
    }
    assert found["duende_daemons", "", ""] == 2
    assert found["duende_daemon_up", "web", ""] == 1
    assert found["duende_daemon_up", "old", ""] == 0
    assert found["duende_daemon_uptime_seconds", "web", ""] == 60
    assert ("duende_daemon_uptime_seconds", "old", "") not in found
    assert found["duende_daemon_state", "old", Phase.STOPPED.value] == 1
    assert found["duende_daemon_restarts_total", "web", ""] == 2
    assert found["duende_daemon_healthy", "web", ""] == 1
    assert ("duende_daemon_healthy", "old", "") not in found
    assert text.count("\nduende_daemon_state{") == 2


def test_what_is_no_family() -> None:
    """Names, labels, kinds and units that could not be read again are refused."""
    for fields in (
        ("1a", "gauge", "", ()),
        ("a_total", "counter", "", ()),
        ("a", "summary", "", ()),
        ("a", "gauge", "", (({"__a": "x"}, 1.0),)),
        ("a", "counter", "", (({}, -1.0),)),
        ("a", "counter", "", (({}, math.nan),)),
        ("a", "gauge", "", (), "seconds"),
    ):
        with pytest.raises(ValueError, match=r"name|kind|label|unit|counted"):
            Family(*fields)


def test_what_a_client_takes() -> None:
    """OpenMetrics for those who ask for it, with its end."""
    family = Family("a_seconds", "counter", "x", (({}, 1.5),), "seconds")
    assert negotiated([family], "*/*")[0] == PROMETHEUS
    kind, text = negotiated([family], "application/openmetrics-text; version=1.0.0, text/plain;q=0.4")
    assert kind == OPENMETRICS
    assert text.endswith("# EOF\n")
    assert "# UNIT a_seconds seconds\n" in text


def test_requests_over_http() -> None:
    """/metrics is known, whatever stands behind it, and nothing else."""
    views = [view("web")]
    for request in (
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"GET /metrics?x=1 HTTP/1.1\r\nACCEPT: text/plain\r\n\r\n",
    ):
        head, _, body = answered(request, lambda: families_of(views)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert answered(b"PUT /metrics HTTP/1.0\r\n\r\n", lambda: families_of(views)).startswith(b"HTTP/1.1 405")
    for request in (b"GET / HTTP/1.0\r\n\r\n", b"GET \r\n\r\n", b"GET\r\n\r\n"):
        assert answered(request, lambda: families_of(views)).startswith(b"HTTP/1.1 404")


def test_a_thousand_daemons_do_not_take_long() -> None:
    """Far from a second; how long it takes is for the bench to say."""
    views = [view(f"daemon-{number}") for number in range(1000)]
    began = time.process_time()
    text = prometheus(families_of(views))
    assert time.process_time() - began < 1.0
    assert text.count("\n") > 7000


def test_over_a_control_socket(tmp_path: Path) -> None:
    """A request that comes in pieces is answered once it is whole; the command prints the same."""
    from duende.manager.control import Control
    from duende.manager.manager import DaemonManager

    async def nothing() -> None:
        """What a shutdown would do."""

    async def body() -> None:
        manager = DaemonManager(state_dir=str(tmp_path / "s"), runtime_dir=str(tmp_path / "r"))
        await manager.open()
        control = Control(manager, nothing)
        await control.open()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "r" / "control.sock"))
        for piece in (b"GET /met", b"rics HTTP/1.1\r\nHost: x", b"\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        raw = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert raw.startswith(b"HTTP/1.1 200 OK")
        assert b"duende_daemons 0\n" in raw
        from duende.cli.command import dispatch

        code = await asyncio.to_thread(
            dispatch, ["metrics", "--runtime-dir", str(tmp_path / "r"), "--openmetrics"]
        )
        assert code == 0
        await control.close()
        await manager.close()

    asyncio.run(asyncio.wait_for(body(), 60))
