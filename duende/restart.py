"""The restart model: a pure function of (policy, history, exit, time) to a decision. No I/O, no clock, no state.

delay(n) = min(initial_delay x multiplier^n, max_delay), spread by jitter; n counts the restarts since the last
stable run. At most `max_retries` restarts happen within `window` seconds, under every policy; the next one is
refused: "gave up".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import msgspec

from duende.config.model import RestartConfig, RestartPolicy
from duende.states import ProcessExit


class RestartState(msgspec.Struct, frozen=True):
    """What has to be remembered of a daemon between two exits; small enough to write into a journal."""

    restarts: tuple[float, ...] = ()
    """Monotonic seconds of the restarts inside the window, oldest first; at most `max_retries` of them."""
    streak: int = 0
    """Restarts since the last stable run: the exponent n of the next delay."""
    total: int = 0
    """Restarts since the daemon was registered."""


class Restart(msgspec.Struct, frozen=True):
    """Start it again after *delay* seconds."""

    delay: float
    state: RestartState


class Stay(msgspec.Struct, frozen=True):
    """Leave it ended; the *reason* is a sentence for people."""

    state: RestartState
    reason: str


class GiveUp(msgspec.Struct, frozen=True):
    """Leave it Failed: the policy would start it again, the limit on restarts forbids it."""

    state: RestartState
    reason: str


Decision = Restart | Stay | GiveUp

FRESH = RestartState()
"""The state of a daemon that was never restarted, and of one an operator started by hand."""


def backoff(config: RestartConfig, streak: int) -> float:
    """The delay in seconds after *streak* restarts without a stable run, before jitter: 0 to `max_delay`."""
    if config.initial_delay <= 0.0:
        return 0.0
    try:
        return min(config.initial_delay * config.multiplier**streak, config.max_delay)
    except OverflowError:  # float power overflows loudly; whatever the true figure is, it is above the cap
        return config.max_delay


def is_failure(exit: ProcessExit, *, expected_signal: bool = False) -> bool:  # noqa: A002  (the noun of the vocabulary)
    """Whether an exit counts as a failure: a code other than 0, or a signal that nobody here sent.

    An exit nobody observed counts as one too: the daemon should be running and is not.
    """
    if exit.signal is not None:
        return not expected_signal
    return exit.code != 0


def decide(
    config: RestartConfig,
    state: RestartState,
    *,
    exit: ProcessExit | None,  # noqa: A002  (the noun of the vocabulary)
    ran_for: float,
    now: float,
    wanted_stop: bool = False,
    expected_signal: bool = False,
    unhealthy: bool = False,
    rng: Callable[[], float] | None = None,
) -> Decision:
    """Decide what follows an exit.

    Args:
        config: a validated restart configuration.
        state: what the last decision returned, or `FRESH`.
        exit: how the process ended; None when there never was one, or it did not become ready.
        ran_for: seconds from ready to the exit; 0 for a failed start.
        now: monotonic seconds.
        wanted_stop: the operator asked for the stop. No policy restarts then.
        expected_signal: the signal that ended it came from us.
        unhealthy: we ended it because its health checks failed, which is a failure whatever the exit says.
        rng: gives numbers in [0, 1) for jitter, such as `random.random`; None means the middle, no spread.
    """
    stable = exit is not None and ran_for >= config.stable_after
    streak = 0 if stable else state.streak
    if stable and state.streak:
        state = RestartState(state.restarts, 0, state.total)
    if wanted_stop:
        return Stay(state, "stopped on request")
    policy = config.policy
    if policy is RestartPolicy.NEVER:
        return Stay(state, "restart policy is never")
    failed = unhealthy or exit is None or is_failure(exit, expected_signal=expected_signal)
    if policy is RestartPolicy.ON_FAILURE and not failed:
        return Stay(state, f"{exit} is no failure")
    recent = _inside_window(state.restarts, now, config.window)
    if len(recent) >= config.max_retries:
        return GiveUp(RestartState(recent, streak, state.total), _gave_up(len(recent), config.window))
    delay = backoff(config, streak)
    if config.jitter > 0.0 and rng is not None:
        delay = min(delay * (1.0 - config.jitter + 2.0 * config.jitter * rng()), config.max_delay)
    return Restart(delay, RestartState((*recent, now), streak + 1, state.total + 1))


def failed_start(
    config: RestartConfig,
    state: RestartState,
    *,
    now: float,
    wanted_stop: bool = False,
    rng: Callable[[], float] | None = None,
) -> Decision:
    """Decide what follows a start that failed (spawn error, not ready in time): the rules of other failures."""
    return decide(config, state, exit=None, ran_for=0.0, now=now, wanted_stop=wanted_stop, rng=rng)


def _inside_window(restarts: tuple[float, ...], now: float, window: float) -> tuple[float, ...]:
    if restarts and restarts[-1] > now:
        # The clock of another boot, from a journal: those times mean nothing any more.
        restarts = tuple(at for at in restarts if at <= now)
    if not restarts or restarts[0] > now - window:
        return restarts
    return restarts[bisect_right(restarts, now - window) :]


def _gave_up(count: int, window: float) -> str:
    return f"gave up: {count} {'restart' if count == 1 else 'restarts'} in {window:g} s"
