"""The restart model: a pure function of policy, history, exit and clock to a decision. No I/O.

delay(n) = min(initial_delay x multiplier^n, max_delay), n the failures in a row since the last stable run;
jitter spreads it, and the cap holds after the spread. At most `max_retries` restarts within `window`; the
next one gives up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from duende.config.model import RestartConfig, RestartPolicy
from duende.states import ProcessExit

UNLIMITED = 10_000
"""`max_retries` from here on is no limit, and nothing is kept to count against it: a flapping daemon must not
grow its manager.
"""
LARGEST_STREAK = 1_000_000
"""Counting further would change nothing: every delay has long reached its cap."""


class RestartState(msgspec.Struct, frozen=True):
    """What is remembered between decisions."""

    restarts: tuple[float, ...] = ()
    """Monotonic times of the restarts within the window, oldest first."""
    streak: int = 0
    """Restarts since the last stable run: the exponent of the backoff."""
    total: int = 0
    """Restarts ever."""


class Restart(msgspec.Struct, frozen=True):
    """Start again after `delay` seconds."""

    delay: float
    state: RestartState


class Stay(msgspec.Struct, frozen=True):
    """Leave it as it is."""

    reason: str
    state: RestartState


class GiveUp(msgspec.Struct, frozen=True):
    """Too many restarts: leave it Failed."""

    reason: str
    state: RestartState


Decision = Restart | Stay | GiveUp


def wants_restart(
    policy: RestartPolicy,
    exit: ProcessExit | None,  # noqa: A002  (the noun of the vocabulary)
    *,
    wanted_stop: bool,
    expected_signal: bool,
) -> bool:
    """Whether *policy* starts the daemon again. *exit* None is a start that failed; *expected_signal*:
    somebody here sent the fatal signal.

    `always` and `unless-stopped` differ only after a manager restart: the operator's stop is respected by
    both while the manager lives.
    """
    if wanted_stop or policy is RestartPolicy.NEVER:
        return False
    if policy is RestartPolicy.ON_FAILURE:
        return exit is None or not (exit.ok or expected_signal)
    return True


def delay_for(config: RestartConfig, streak: int, rng: Callable[[], float] | None = None) -> float:
    """Seconds before the restart that follows *streak* earlier ones; *rng* gives numbers in [0, 1) for the
    jitter.
    """
    if config.initial_delay <= 0.0:
        return 0.0
    # Compared as logarithms, so that no power overflows.
    if config.multiplier > 1.0 and math.log(config.initial_delay) + streak * math.log(
        config.multiplier
    ) >= math.log(max(config.max_delay, 1e-9)):
        delay = config.max_delay
    else:
        delay = min(config.initial_delay * config.multiplier**streak, config.max_delay)
    if config.jitter and rng is not None:
        delay *= 1.0 + config.jitter * (2.0 * rng() - 1.0)
    return max(0.0, min(delay, config.max_delay))


def decide(
    config: RestartConfig,
    state: RestartState,
    *,
    exit: ProcessExit | None,  # noqa: A002
    ran_for: float,
    now: float,
    wanted_stop: bool,
    expected_signal: bool = False,
    rng: Callable[[], float] | None = None,
) -> Decision:
    """What follows the end of a daemon that ran for *ran_for* seconds, or (*exit* None) a start that failed,
    at monotonic *now*.
    """
    if not wants_restart(config.policy, exit, wanted_stop=wanted_stop, expected_signal=expected_signal):
        return Stay("stopped on request" if wanted_stop else f"policy {config.policy.value}", state)
    stable = ran_for >= config.stable_after
    streak = 0 if stable else state.streak
    limited = config.max_retries < UNLIMITED
    recent = () if not limited else tuple(moment for moment in state.restarts if moment > now - config.window)
    if limited and len(recent) >= config.max_retries:
        kept = RestartState(recent, streak, state.total)
        return GiveUp(f"gave up: {len(recent)} restarts within {config.window:g} s", kept)
    following = RestartState(
        (*recent, now) if limited else (), min(streak + 1, LARGEST_STREAK), state.total + 1
    )
    return Restart(delay_for(config, streak, rng), following)
