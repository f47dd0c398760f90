"""`[policy]`: circuit breakers, rate limiters, queues and retries of a daemon, by name. Its code asks `ctx.policy` for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from duende.errors import ConfigError


class BreakerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A circuit breaker; times in seconds."""

    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    probes: int = 1
    successes: int = 3
    probe_timeout: float = 60.0


class RateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token bucket."""

    rate: float
    """Tokens a second."""
    burst: float | None = None


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bounded queue."""

    limit: int
    shed: Literal["reject-newest", "drop-oldest", "drop-lowest"] = "reject-newest"


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retries; delays in seconds."""

    attempts: int = 3
    initial_delay: float = 0.1
    multiplier: float = 2.0
    max_delay: float = 10.0
    deadline: float | None = None


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a daemon's, by name."""

    breaker: dict[str, BreakerConfig] = {}
    rate: dict[str, RateConfig] = {}
    queue: dict[str, QueueConfig] = {}
    retry: dict[str, RetryConfig] = {}


def policy_of(text: str, source: str = "<text>") -> PolicyConfig:
    """The policy of a TOML *text*: the tables of `[policy]` by themselves, or below `policy`.

    Raises:
        ConfigError: it has a mistake; the key is named, and for an unknown one the nearest that is known.
    """
    import tomllib

    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not TOML: {error}", source=source) from error
    if set(data) == {"policy"} and isinstance(data["policy"], dict):
        data = data["policy"]
    try:
        found = msgspec.convert(data, PolicyConfig, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_with_nearest(str(error))}", source=source) from error
    wrong = next(problems(found), None)
    if wrong is not None:
        raise ConfigError(f"{source}: {wrong[0]}: {wrong[1]}", key=wrong[0], source=source)
    return found


def _with_nearest(message: str) -> str:
    from difflib import get_close_matches

    parts = message.split("`")
    if "unknown field" not in message or len(parts) < 2:
        return message
    kinds = (PolicyConfig, BreakerConfig, RateConfig, QueueConfig, RetryConfig)
    known = [field for kind in kinds for field in kind.__struct_fields__]
    near = get_close_matches(parts[1], known, n=1, cutoff=0.5)
    return f"{message}; did you mean {near[0]!r}?" if near else message


def problems(policy: PolicyConfig) -> Iterator[tuple[str, str]]:
    """(dotted key, what is wrong) of every number that makes no sense."""
    for name, breaker in policy.breaker.items():
        for key in ("failure_threshold", "probes", "successes"):
            if getattr(breaker, key) < 1:
                yield f"policy.breaker.{name}.{key}", f"{getattr(breaker, key)} must be 1 or more"
        for key in ("recovery_timeout", "probe_timeout"):
            if not 0 <= getattr(breaker, key) < math.inf:
                yield f"policy.breaker.{name}.{key}", f"{getattr(breaker, key)} must be seconds, 0 or more"
    for name, rate in policy.rate.items():
        if not 0 < rate.rate < math.inf:
            yield f"policy.rate.{name}.rate", f"{rate.rate} must be more than 0 a second"
        if rate.burst is not None and not 1 <= rate.burst < math.inf:
            yield f"policy.rate.{name}.burst", f"{rate.burst} must be 1 or more"
    for name, queue in policy.queue.items():
        if queue.limit < 1:
            yield f"policy.queue.{name}.limit", f"{queue.limit} must be 1 or more"
    for name, retry in policy.retry.items():
        if retry.attempts < 1:
            yield f"policy.retry.{name}.attempts", f"{retry.attempts} must be 1 or more"
        for key, least in (("initial_delay", 0.0), ("multiplier", 1.0), ("max_delay", 0.0)):
            if not least <= getattr(retry, key) < math.inf:
                yield f"policy.retry.{name}.{key}", f"{getattr(retry, key)} must be {least:g} or more"
        if retry.deadline is not None and not retry.deadline >= 0:
            yield f"policy.retry.{name}.deadline", f"{retry.deadline} must be seconds, 0 or more"
