"""From the answers of wos-ctl to values."""

from __future__ import annotations

import pytest

from duende.adapters.wos import parse
from duende.config.model import DaemonConfig
from duende.errors import (
    InstanceNotFoundError,
    InvalidStateError,
    PlatformConfigError,
    PlatformIOError,
    SpawnError,
    StatusFailedError,
)
from duende.states import FailureKind, Phase

CONFIG = DaemonConfig(name="web", binary_path="/srv/web.wasm")


def refusal(kind: str, problem: str) -> bytes:
    """An error, as wos-ctl prints it with --json."""
    return b'{"error":{"kind":"%s","problem":"%s","remedy":"do it"}}\n' % (kind.encode(), problem.encode())


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        (b'{"pid":2,"state":"ready"}', Phase.RUNNING),
        (b'{ "pid": 2, "state" : "blocked" }', Phase.RUNNING),
        (b'{"pid":2,"state":"stopped"}', Phase.PAUSED),
        (b'{"pid":2,"state":"terminated","exit":{"code":0,"signal":null}}', Phase.STOPPED),
        (b'{"pid":2,"state":"terminated","exit":{"code":3,"signal":null}}', Phase.FAILED),
        (b'{"pid":2,"state":"terminated"}', Phase.FAILED),
    ],
)
def test_states_are_phases(text: bytes, phase: Phase) -> None:
    """Whatever blanks stand between."""
    assert parse.status_of(parse.read(text, parse.Described)).phase is phase


def test_a_trap_is_told_with_its_reason() -> None:
    """The signal, and what the runtime said."""
    text = b'{"pid":2,"state":"terminated","exit":{"code":null,"signal":11,"why":"out of bounds"}}'
    reason = parse.status_of(parse.read(text, parse.Described)).reason
    assert reason is not None
    assert (reason.kind, reason.value, reason.detail) == (FailureKind.SIGNAL, 11, "out of bounds")


def test_nonsense_is_an_error() -> None:
    """Never a status."""
    with pytest.raises(StatusFailedError, match="nonsense"):
        parse.read(b"nonsense", parse.Described)
    with pytest.raises(StatusFailedError, match="dreaming"):
        parse.status_of(parse.Described(pid=2, state="dreaming"))


def test_starts_that_failed() -> None:
    """Each kind of refusal is its own error."""
    error = parse.spawn_error(CONFIG, refusal("module", "cannot read it: No such file or directory"))
    assert isinstance(error, SpawnError)
    assert (error.step, error.errno, error.path) == ("exec", 2, "/srv/web.wasm")
    error = parse.spawn_error(CONFIG, refusal("limit", "it may have 9 open descriptors"))
    assert isinstance(error, PlatformConfigError)
    assert "open_files_max" in str(error)
    assert "best_effort" in str(error)
    assert "memory_bytes" in str(parse.spawn_error(CONFIG, refusal("memory", "too much")))
    error = parse.spawn_error(CONFIG, refusal("halted", "halted: MAX_PROCESSES"))
    assert isinstance(error, SpawnError)
    assert error.step == "kernel"
    assert isinstance(parse.spawn_error(CONFIG, refusal("usage", "what?")), PlatformConfigError)


def test_other_refusals() -> None:
    """By the exit code; words for people are passed on."""
    assert isinstance(parse.error_of(3, refusal("absent", "no 9"), "look"), InstanceNotFoundError)
    assert isinstance(parse.error_of(5, refusal("halted", "halted"), "look"), InvalidStateError)
    error = parse.error_of(4, b"noise\nwos-ctl: no kernel runs\n", "look")
    assert isinstance(error, PlatformIOError)
    assert str(error).startswith("cannot look: no kernel runs")
