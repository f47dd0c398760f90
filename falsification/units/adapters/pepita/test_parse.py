"""From pepita's answers to the contract."""

from __future__ import annotations

import pytest

from duende.adapters.contract import EventKind, Found
from duende.adapters.pepita import parse
from duende.adapters.pepita.explain import explain
from duende.config.model import DaemonConfig
from duende.errors import (
    InstanceNotFoundError,
    PlatformConfigError,
    PlatformIOError,
    PlatformResourceError,
    SpawnError,
)
from duende.states import Phase

USED = "[memory.max]\n536870912\n[memory.swap.max]\n536870912\n[cpu.max]\n100000 100000\n[cpu.weight]\n39\n[pids.max]\n100\n"


def test_states() -> None:
    """Running, paused, and each kind of end."""
    assert parse.status_of({"state": "running"}).phase is Phase.RUNNING
    assert parse.status_of({"state": "paused"}).phase is Phase.PAUSED
    assert parse.status_of({"state": "stopped", "exit": {"code": 0, "signal": None}}).phase is Phase.STOPPED
    assert parse.status_of({"state": "failed", "exit": {"code": 7, "signal": None}}).phase is Phase.FAILED
    assert parse.status_of({"state": "failed", "exit": {"why": "its VM ended first"}}).phase is Phase.FAILED


def test_exits() -> None:
    """Code, signal, memory, and what nobody can know."""
    assert parse.exit_of({"exit": {"code": 7, "signal": None}}).code == 7
    killed = parse.exit_of({"exit": {"code": None, "signal": 9, "used": "[memory.events]\noom_kill 1"}})
    assert (killed.signal, killed.oom) == (9, True)
    assert not parse.exit_of({"exit": {"why": "its VM ended first"}}).known


def test_notices() -> None:
    """Lines of sd_notify(3)."""
    assert parse.notices_of("READY=1\nSTATUS=well\nX=1") == [
        (EventKind.READY, "1"),
        (EventKind.STATUS, "well"),
    ]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("start:exec:2", SpawnError),
        ("boot", SpawnError),
        ("exists", SpawnError),
        ("memory", PlatformResourceError),
        ("missing", PlatformConfigError),
    ],
)
def test_starts_that_fail(kind: str, error: type[Exception]) -> None:
    """Each kind is the contract's own error, and names the daemon."""
    found = parse.start_error("web", {"kind": kind, "problem": "it does not"}, "/bin/web")
    assert isinstance(found, error)
    assert "web" in str(found)


def test_other_errors() -> None:
    """What is gone is told apart from what failed."""
    assert isinstance(parse.error_of({"kind": "ended"}, "ask"), InstanceNotFoundError)
    assert isinstance(parse.error_of({"kind": "timeout"}, "ask"), PlatformIOError)
    with pytest.raises(PlatformIOError, match="no JSON"):
        parse.answer_of("oops")


def test_explain_reads_what_the_guest_says() -> None:
    """Limits, processors and memory, as found."""
    info = {
        "used": USED,
        "guest": "[guest]\ncpus 1\nmemory_kb 740000\n",
        "limits": "Max open files            1024                 1024                 files\n",
        "memory_mb": 768,
    }
    report = {each.key: each for each in explain(DaemonConfig(name="web", binary_path="/bin/web"), info)}
    for key in ("memory_bytes", "cpu_quota_percent", "pids_max", "open_files_max"):
        assert report[f"resources.{key}"].outcome is Found.HONOURED, report[f"resources.{key}"]
    assert report["platform.pepita.memory_mb"].found == "722"
