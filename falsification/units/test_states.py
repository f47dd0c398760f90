"""States, identities, signals and errors: the values everything else is told in."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import duende
from duende import errors
from duende.ids import DaemonId
from duende.signals import Signal, signal_name
from duende.states import (
    TRANSITIONS,
    DaemonStatus,
    ExitKind,
    ExitReason,
    FailureKind,
    FailureReason,
    HealthStatus,
    Phase,
    ProcessExit,
)


@pytest.mark.parametrize("before", Phase)
@pytest.mark.parametrize("after", Phase)
def test_only_the_table_moves_a_daemon(before: Phase, after: Phase) -> None:
    """A transition is legal exactly if the table has it; any other raises and names both states."""
    if after in TRANSITIONS[before]:
        assert DaemonStatus(before).to(after).phase is after
    else:
        with pytest.raises(errors.TransitionError, match=f"from {before.value} to {after.value}"):
            DaemonStatus(before).to(after)


def test_nothing_runs_without_starting() -> None:
    """Every path to Running goes through Starting or Paused, and terminal states are left only by a start or
    a stop.
    """
    assert {phase for phase, following in TRANSITIONS.items() if Phase.RUNNING in following} == {
        Phase.STARTING,
        Phase.PAUSED,
    }
    assert TRANSITIONS[Phase.STOPPED] == {Phase.STARTING}
    assert TRANSITIONS[Phase.FAILED] == {Phase.STARTING, Phase.STOPPED}


@pytest.mark.parametrize("phase", Phase)
def test_predicates_agree_with_the_contract(phase: Phase) -> None:
    """Terminal, active and signallable are the sets the contract names."""
    status = DaemonStatus(phase)
    assert status.is_terminal == (phase in (Phase.STOPPED, Phase.FAILED))
    assert status.is_active == (phase in (Phase.RUNNING, Phase.PAUSED))
    assert status.can_signal == (phase not in (Phase.CREATED, Phase.STOPPED, Phase.FAILED))


@given(st.sampled_from(FailureKind), st.integers(0, 255), st.text())
def test_a_failed_status_survives_json(kind: FailureKind, value: int, detail: str) -> None:
    """Status round-trips through its wire form, with code or signal where the kind has one."""
    kept = value if kind in (FailureKind.SIGNAL, FailureKind.EXIT_CODE) else 0
    status = DaemonStatus.failed(FailureReason(kind, kept, detail))
    assert DaemonStatus.from_json(msgspec.json.decode(msgspec.json.encode(status.to_json()))) == status
    assert str(status).startswith("Failed (")


@pytest.mark.parametrize("phase", Phase)
def test_a_plain_status_is_its_name(phase: Phase) -> None:
    """Without a reason the wire form is the bare name."""
    assert DaemonStatus.from_json(phase.value) == DaemonStatus(phase)
    assert DaemonStatus(phase).to_json() == str(DaemonStatus(phase)) == phase.value


@pytest.mark.parametrize(
    "text", ["Dancing", 7, None, {}, {"Failed": {}}, {"Failed": {"Nonsense": 1}}, {"Failed": 3}]
)
def test_nonsense_is_no_status(text: object) -> None:
    """Anything else is refused with a typed error."""
    with pytest.raises(errors.SerializationError):
        DaemonStatus.from_json(text)


def test_exits_say_what_happened() -> None:
    """An exit is a code, a signal or unknown, and becomes the matching failure."""
    assert ProcessExit(code=0).ok
    assert ProcessExit(code=0).known
    assert not ProcessExit().known
    assert ProcessExit().failure().kind is FailureKind.INTERNAL
    assert str(ProcessExit()) == "exit not observed"
    assert str(ProcessExit(code=3)) == "exit code 3"
    assert str(ProcessExit(code=3).failure()) == "exit code 3"
    assert str(ProcessExit(signal=11, core_dumped=True).failure()) == "killed by SIGSEGV: core dumped"
    assert str(ProcessExit(signal=9)) == "killed by SIGKILL"
    assert str(FailureReason(FailureKind.GAVE_UP, 0, "x")) == "gave up: x"
    assert str(FailureReason(FailureKind.START)) == "Start"


def test_exit_reasons_and_health() -> None:
    """The constructors fill in what their names say; a score out of range is refused."""
    assert ExitReason.by_signal(Signal.TERM).signal is Signal.TERM
    made = (
        ExitReason.graceful(),
        ExitReason.error("x"),
        ExitReason.resource_exhausted("x"),
        ExitReason.policy_violation("x"),
    )
    assert [reason.kind for reason in made] == [
        ExitKind.GRACEFUL,
        ExitKind.ERROR,
        ExitKind.RESOURCE_EXHAUSTED,
        ExitKind.POLICY_VIOLATION,
    ]
    assert HealthStatus.degraded("slow").is_healthy
    bad = HealthStatus.unhealthy("down")
    assert not bad.is_healthy
    assert bad.checks[0].name == "main"
    for score in (-1, 6):
        with pytest.raises(ValueError, match="between 0 and 5"):
            HealthStatus.healthy(score)


def test_ids_are_uuids() -> None:
    """A fresh id is a random UUID of version 4, and is read back in either case."""
    made = DaemonId.new()
    assert made != DaemonId.new()
    assert made[14] == "4"
    assert made[19] in "89ab"
    assert DaemonId.parse(made.upper()) == made
    assert msgspec.json.encode(str(made)) == f'"{made}"'.encode()
    assert made.short == made[:8]
    with pytest.raises(errors.SerializationError, match="not-an-id"):
        DaemonId.parse("not-an-id")


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_signals_by_number_and_name(signal: Signal, platform: str) -> None:
    """Every signal is found again by its number on each platform, and by every spelling of its name."""
    assert Signal.from_number(signal.number(platform), platform) is signal
    assert Signal.parse(f"sig{signal.value.lower()} ") is Signal.parse(str(signal.number())) is signal
    assert signal.is_shutdown == (signal.value in ("TERM", "INT", "QUIT"))


def test_other_signals_are_refused() -> None:
    """Numbers and names outside the list are not signals to send, though they have names."""
    assert Signal.from_number(11) is None
    for text in ("11", "SEGV", "", "TERMINATE"):
        with pytest.raises(errors.SignalError, match="use one of"):
            Signal.parse(text)
    assert signal_name(11) == "SIGSEGV"
    assert signal_name(999) == "signal 999"


def _examples() -> list[errors.DuendeError]:
    special = [
        errors.ShutdownTimeoutError("web", 3),
        errors.ResourceLimitError("pids_max", 1, 2),
        errors.DaemonIOError("x", errno=2, path="/p"),
        errors.NotSupportedError("wos", "trace"),
        errors.SpawnError("x", errno=2, step="exec", path="/p"),
        errors.UblkError("x", errno=2, command="ADD_DEV"),
        errors.PlatformTimeoutError("start", 2),
        errors.ConfigError("x", problems=("x", "y"), key="k", source="s"),
        errors.CircuitOpenError("db", 2.0),
        errors.RateLimitedError("api", 10.0, 0.5),
        errors.QueueFullError("jobs", 3),
        errors.TraceContextError("00-x", "it is none"),
    ]
    done = {type(error) for error in special}
    kinds = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.DuendeError)
    ]
    return special + [kind("x", remedy="y") for kind in kinds if kind not in done]


@pytest.mark.parametrize("error", _examples(), ids=lambda error: type(error).__name__)
def test_errors_cross_process_boundaries(error: errors.DuendeError) -> None:
    """Every error pickles with its evidence, and its text ends with what can be done."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert isinstance(error, (errors.DaemonError, errors.PlatformError, errors.DuendeError))
    if error.remedy:
        assert str(error).endswith(f"({error.remedy})")


def test_public_names_resolve_on_first_use() -> None:
    """An unknown public name is an AttributeError that names it; the listing has every name."""
    assert duende.ConfigError is errors.ConfigError
    assert set(duende.__all__) <= set(dir(duende))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = duende.nonsense
