"""From properties and journal entries to values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.contract import EventKind
from duende.adapters.systemd import memory, parse
from duende.adapters.systemd.exits import STEPS
from duende.adapters.systemd.parse import UnitState
from duende.adapters.systemd.records import Record, unit_path
from duende.config.model import DaemonConfig
from duende.errors import PlatformIOError
from duende.states import Phase

CONFIG = DaemonConfig(name="web", binary_path="/no/such")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (UnitState(sub="running", main_pid=9), "Running"),
        (UnitState(sub="running", main_pid=9, frozen=True), "Paused"),
        (UnitState(sub="start", main_pid=9), "Starting"),
        (UnitState(sub="auto-restart", code=1, status=3), "Starting"),
        (UnitState(sub="stop-sigterm"), "Stopping"),
        (UnitState(sub="exited", code=1, status=0), "Stopped"),
        (UnitState(sub="exited", code=2, status=15), "Failed (killed by SIGTERM)"),
        (UnitState(sub="failed", code=1, status=7, result="exit-code"), "Failed (exit code 7)"),
        (UnitState(sub="failed", code=3, status=11), "Failed (killed by SIGSEGV: core dumped)"),
        (UnitState(sub="failed", result="resources"), "Failed (Start: systemd: resources)"),
        (UnitState(sub="dead"), "Stopped"),
    ],
)
def test_status(state: UnitState, text: str) -> None:
    """Each state of a service is the phase it stands for, with code or signal."""
    assert str(parse.status_of(state)) == text


def test_an_unknown_state_is_an_error() -> None:
    """A state that this version does not know is no guess."""
    with pytest.raises(PlatformIOError, match="hovering"):
        parse.status_of(UnitState(sub="hovering"))
    assert parse.status_of(UnitState(sub="running"), paused=True).phase is Phase.PAUSED


def test_exits() -> None:
    """Exit code, signal, core and the word out-of-memory are systemd's own, and unknown stays unknown."""
    assert parse.process_exit(UnitState(code=1, status=203), 1.0).code == 203
    killed = parse.process_exit(UnitState(code=2, status=9, result="oom-kill"), 1.0)
    assert (killed.signal, killed.oom, killed.core_dumped) == (9, True, False)
    assert parse.process_exit(UnitState(code=3, status=6), 1.0).core_dumped
    assert not parse.process_exit(UnitState(code=0), 1.0).known
    assert not parse.process_exit(UnitState(code=1, status=0, main_pid=4), 1.0).known


@pytest.mark.parametrize("status", STEPS)
def test_every_status_of_systemd_names_its_step(status: int) -> None:
    """Each of systemd's own exit statuses becomes an error that names the step and the number."""
    error = parse.start_error(CONFIG, UnitState(code=1, status=status))
    assert error is not None
    assert f"{status}/{STEPS[status].name}" in str(error)
    assert "None" not in str(error) or STEPS[status].key in (
        "working_dir",
        "logging.path",
        "user",
        "group",
        "resources.nice",
    )


def test_a_program_s_own_status_is_no_failed_start() -> None:
    """Other codes, and signals of the same number, are the program's."""
    assert parse.start_error(CONFIG, UnitState(code=1, status=7)) is None
    assert parse.start_error(CONFIG, UnitState(code=2, status=203)) is None


@pytest.mark.parametrize(
    "properties", [{"MainPID": "7"}, {"ActiveState": 3}, {"InvocationID": b"short"}, {"InvocationID": "text"}]
)
def test_properties_of_a_wrong_type_are_an_error(properties: dict[str, Any]) -> None:
    """Garbage is refused, never taken over."""
    with pytest.raises(PlatformIOError):
        parse.update(UnitState(), properties)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30), max_size=5
    )
)
def test_journal_round_trip(lines: list[str]) -> None:
    """Messages come back as they were, as text or as the bytes that the journal makes of what is no text."""
    rows = [{"MESSAGE": line if position % 2 else list(line.encode())} for position, line in enumerate(lines)]
    assert parse.journal_lines(b"\n".join(json.dumps(row).encode() for row in rows)) == lines


def test_late_lines_are_told_apart_by_their_stream() -> None:
    """Lines that came too late for an invocation id are a start's by the stream that its main process opened; others' lines never are."""
    rows = [
        {"MESSAGE": "before", "_SYSTEMD_INVOCATION_ID": "b" * 32, "_STREAM_ID": "0", "_PID": "70"},
        {"MESSAGE": "early", "_SYSTEMD_INVOCATION_ID": "a" * 32, "_STREAM_ID": "1", "_PID": "71"},
        {"MESSAGE": "late", "_STREAM_ID": "1", "_PID": "72"},
        {"MESSAGE": "by its child", "_STREAM_ID": "2", "_PID": "73"},
        {"MESSAGE": "by itself", "_STREAM_ID": "2", "_PID": "71"},
        {"MESSAGE": "a stranger", "_STREAM_ID": "3", "_PID": "74"},
        {"MESSAGE": "no stream", "_PID": "74"},
    ]
    raw = b"\n".join(json.dumps(row).encode() for row in rows)
    assert parse.journal_lines(raw, "a" * 32, "71") == ["early", "late", "by its child", "by itself"]
    assert parse.journal_lines(raw, "a" * 32, "") == ["early", "late"]
    assert parse.journal_lines(raw, "c" * 32, "75") == []
    assert len(parse.journal_lines(raw)) == 7


def test_groups_with_memory_on_version_one() -> None:
    """The group of a unit is found in the hierarchy of memory, and nowhere else: a unit without one of its own has none."""
    text = "12:memory:/system.slice/duende-web-1.service\n1:name=systemd:/system.slice/duende-web-1.service\n0::/\n"
    assert memory.group_for("duende-web-1.service", text) == "/system.slice/duende-web-1.service"
    assert memory.group_for("duende-web-2.service", text) == ""
    assert memory.group_for("duende-web-1.service", "0::/system.slice/duende-web-1.service\n") == ""
    assert memory.watch("duende-web-1.service", 0) is None


def test_a_kill_for_memory_by_the_kernels_word() -> None:
    """Only a KILL is one for memory where systemd does not say so; an exit code never is."""
    killed = UnitState(code=2, status=9, sub="failed", result="signal")
    assert parse.process_exit(killed, 0.0, out_of_memory=True).oom
    assert not parse.process_exit(killed, 0.0).oom
    assert not parse.process_exit(UnitState(code=1, status=4, sub="failed"), 0.0, out_of_memory=True).oom
    assert not parse.process_exit(UnitState(code=2, status=15, sub="failed"), 0.0, out_of_memory=True).oom


def test_journal_oddities() -> None:
    """Bytes that are no UTF-8, entries too large, and fields given twice are shown; garbage is an error."""
    raw = b'{"MESSAGE":[255,65]}\n\n{"MESSAGE":null}\n{"MESSAGE":["a","b"]}'
    assert parse.journal_lines(raw) == ["\ufffdA", "(too large for the journal's JSON)", "a", "b"]
    for bad in (b"no json", b"[1]", b'{"MESSAGE":4}'):
        with pytest.raises(PlatformIOError):
            parse.journal_lines(bad)


def test_paths() -> None:
    """Object paths are escaped as systemd does it."""
    assert unit_path("duende-a_b.service").endswith("/unit/duende_2da_5fb_2eservice")
    assert unit_path("0f").endswith("/unit/_30f")


def record(*, delegated: bool = False, notify: bool = True) -> Record:
    """A record whose start has been answered."""
    found = Record("id", "web", "duende-web-1.service", delegated=delegated, notify=notify)
    found.started = True
    return found


def test_the_first_signal_of_a_start_is_no_end() -> None:
    """Systemd 252 says `dead` with a main process when it has just forked: that ends nothing."""
    one = record()
    one.state = UnitState(sub="dead", active="inactive", main_pid=7)
    assert not one.over
    assert list(one.events()) == []


def test_readiness_status_and_reload_come_once() -> None:
    """READY, STATUS and RELOADING are reported once each time, and READY again after a reload."""
    one = record()
    one.state = UnitState(sub="start", main_pid=7, invocation="a" * 32, text="warm")
    assert [event.kind for event in one.events()] == [EventKind.STATUS]
    one.state.sub = "running"
    assert [event.kind for event in one.events()] == [EventKind.READY]
    assert list(one.events()) == []
    one.state.sub = "reload"
    assert [event.kind for event in one.events()] == [EventKind.RELOADING]
    one.state.sub = "running"
    assert [event.kind for event in one.events()] == [EventKind.READY]


def test_restarts_of_systemd_are_reported_and_end_nothing() -> None:
    """A delegated unit between two runs has not ended; its next main process is a RESTARTED."""
    one = record(delegated=True, notify=False)
    one.state = UnitState(sub="auto-restart", code=1, status=1, restarts=0)
    assert not one.over
    one.state = UnitState(sub="running", main_pid=8, restarts=1)
    (event,) = one.events()
    assert (event.kind, event.pid) == (EventKind.RESTARTED, 8)


def test_out_of_memory() -> None:
    """Result=oom-kill is an event of its own, before the end."""
    one = record(notify=False)
    one.state = UnitState(sub="failed", code=2, status=9, result="oom-kill")
    assert [event.kind for event in one.events()] == [EventKind.OUT_OF_MEMORY]
    assert one.over
    assert one.end(parse.process_exit(one.state, 0.0), leftovers=False).exit.oom  # type: ignore[union-attr]
    assert not one.over
