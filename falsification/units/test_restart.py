"""The restart model: laws that hold for every configuration and every history."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from duende.config import DaemonConfig, RestartConfig, RestartPolicy, validate
from duende.restart import UNLIMITED, Decision, GiveUp, Restart, RestartState, Stay, decide, delay_for
from duende.states import ProcessExit

CLEAN, FAILED = ProcessExit(code=0), ProcessExit(code=1)
SEGV, TERM, UNSEEN = ProcessExit(signal=11), ProcessExit(signal=15), ProcessExit()
HOUR = 3600.0

configs = st.builds(
    lambda initial, extra, **rest: RestartConfig(initial_delay=initial, max_delay=initial + extra, **rest),
    initial=st.floats(0, 1e6),
    extra=st.floats(0, 1e6),
    policy=st.sampled_from(RestartPolicy),
    multiplier=st.floats(1, 1e300),
    max_retries=st.integers(0, 12) | st.just(UNLIMITED),
    window=st.floats(0.001, 1e6),
    stable_after=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)
exits = st.sampled_from([CLEAN, FAILED, SEGV, TERM, UNSEEN, None])


def after(config: RestartConfig, exit_: ProcessExit | None = FAILED, **how: object) -> Decision:
    """One decision with a fresh history."""
    rest = {"ran_for": 0.0, "now": 1000.0, "wanted_stop": False, **how}
    return decide(config, RestartState(), exit=exit_, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "exit_", "restarts"),
    [
        ("never", FAILED, False),
        ("never", None, False),
        ("on-failure", CLEAN, False),
        ("on-failure", FAILED, True),
        ("on-failure", SEGV, True),
        ("on-failure", TERM, True),
        ("on-failure", UNSEEN, True),
        ("on-failure", None, True),
        ("always", CLEAN, True),
        ("always", SEGV, True),
        ("unless-stopped", CLEAN, True),
        ("unless-stopped", None, True),
    ],
)
def test_each_policy(policy: str, exit_: ProcessExit | None, restarts: bool) -> None:
    """Each policy restarts exactly the exits it names."""
    assert isinstance(after(RestartConfig(policy=RestartPolicy(policy)), exit_), Restart) is restarts


def test_a_signal_we_sent_is_no_failure() -> None:
    """On-failure leaves a daemon alone that died of a signal sent from here."""
    assert isinstance(after(RestartConfig(), TERM, expected_signal=True), Stay)


@given(configs, exits, st.booleans())
def test_no_policy_undoes_the_operators_stop(
    config: RestartConfig, exit_: ProcessExit, expected: bool
) -> None:
    """A wanted stop is final under every policy."""
    assert isinstance(after(config, exit_, wanted_stop=True, expected_signal=expected), Stay)


@given(configs, st.integers(0, 10**9), st.floats(0, 1, exclude_max=True) | st.none())
def test_delays_are_finite_and_capped(config: RestartConfig, streak: int, number: float | None) -> None:
    """A delay is finite, not negative and at most max_delay, for every valid configuration and streak."""
    validate(DaemonConfig(name="x", binary_path="/x", restart=config))
    delay = delay_for(config, streak, None if number is None else lambda: number)
    assert math.isfinite(delay)
    assert 0 <= delay <= config.max_delay


@given(st.floats(0.001, 10), st.floats(1, 10), st.integers(0, 20))
def test_delays_follow_the_formula(initial: float, multiplier: float, streak: int) -> None:
    """Without jitter the delay is min(initial x multiplier^n, max)."""
    config = RestartConfig(initial_delay=initial, multiplier=multiplier, max_delay=300.0)
    assert delay_for(config, streak) == pytest.approx(min(initial * multiplier**streak, 300.0))


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.integers(0, 20))
def test_jitter_stays_within_its_share(jitter: float, number: float, streak: int) -> None:
    """Jitter multiplies by a factor in [1 - jitter, 1 + jitter], then the cap holds."""
    config = RestartConfig(jitter=jitter)
    plain, spread = delay_for(config, streak), delay_for(config, streak, lambda: number)
    assert plain * (1 - jitter) - 1e-9 <= spread <= min(plain * (1 + jitter), config.max_delay) + 1e-9


def test_one_crash_an_hour_for_a_week_keeps_the_initial_delay() -> None:
    """S009: after every stable run the delay is back at its initial value, and nobody gives up."""
    config, state = RestartConfig(), RestartState()
    for hour in range(24 * 7):
        found = decide(config, state, exit=SEGV, ran_for=HOUR - 1, now=hour * HOUR, wanted_stop=False)
        assert isinstance(found, Restart)
        assert found.delay == config.initial_delay
        state = found.state
    assert state.total == 24 * 7
    assert len(state.restarts) <= config.max_retries


def test_a_tight_loop_gives_up_after_max_retries() -> None:
    """S008: the eleventh failure within the window is given up, and says so with its figures."""
    config, state, now, restarts = RestartConfig(), RestartState(), 0.0, 0
    while isinstance(
        found := decide(config, state, exit=FAILED, ran_for=0.0, now=now, wanted_stop=False), Restart
    ):
        state, now, restarts = found.state, now + found.delay, restarts + 1
        assert restarts <= config.max_retries
    assert restarts == config.max_retries
    assert isinstance(found, GiveUp)
    assert found.reason == "gave up: 10 restarts within 3600 s"


def test_unlimited_retries_remember_nothing() -> None:
    """S017: without a limit a flapping daemon never grows its manager, and its delay still has its cap."""
    config, state, delay = RestartConfig(max_retries=UNLIMITED), RestartState(), 0.0
    for number in range(10_000):
        found = decide(config, state, exit=None, ran_for=0.0, now=float(number), wanted_stop=False)
        assert isinstance(found, Restart)
        state, delay = found.state, found.delay
    assert state.restarts == ()
    assert state.total == 10_000
    assert delay == config.max_delay


@given(configs, st.lists(st.tuples(exits, st.floats(0, 1e6)), max_size=8))
@settings(max_examples=50)
def test_the_state_survives_a_journal(
    config: RestartConfig, history: list[tuple[ProcessExit, float]]
) -> None:
    """What is remembered round-trips through JSON."""
    state, now = RestartState(), 0.0
    for exit_, ran_for in history:
        now += ran_for
        state = decide(config, state, exit=exit_, ran_for=ran_for, now=now, wanted_stop=False).state
    assert msgspec.json.decode(msgspec.json.encode(state), type=RestartState) == state


class Machine(RuleBasedStateMachine):
    """A daemon that ends in every way, at any time, under one configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.config = RestartConfig(
            max_retries=4, window=100.0, stable_after=20.0, max_delay=30.0, jitter=0.5
        )
        self.state = RestartState()
        self.now = 0.0
        self.restarted_at: list[float] = []

    @rule(ran_for=st.floats(0, 60), exit_=exits, number=st.floats(0, 1, exclude_max=True))
    def ends(self, ran_for: float, exit_: ProcessExit | None, number: float) -> None:
        """The daemon ends after *ran_for* seconds."""
        self.now += ran_for
        found = decide(
            self.config,
            self.state,
            exit=exit_,
            ran_for=ran_for,
            now=self.now,
            wanted_stop=False,
            rng=lambda: number,
        )
        recent = [at for at in self.restarted_at if at > self.now - self.config.window]
        assert isinstance(found, Stay) == (exit_ is CLEAN)
        if not isinstance(found, Stay):
            assert isinstance(found, GiveUp) == (len(recent) >= self.config.max_retries)
        if isinstance(found, Restart):
            if ran_for >= self.config.stable_after:
                assert found.delay <= self.config.initial_delay * (1 + self.config.jitter)
                assert found.state.streak == 1
            self.restarted_at.append(self.now)
            self.now += found.delay
        self.state = found.state

    @rule(seconds=st.floats(0, 300))
    def waits(self, seconds: float) -> None:
        """An operator waits before starting it by hand."""
        self.now += seconds

    @invariant()
    def the_window_holds(self) -> None:
        """Never more than max_retries restarts are remembered, in order, and the total is exact."""
        assert len(self.state.restarts) <= self.config.max_retries
        assert list(self.state.restarts) == sorted(self.state.restarts)
        assert self.state.total == len(self.restarted_at)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
