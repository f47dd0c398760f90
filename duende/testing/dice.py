"""Seeded chance that is a pure function of (seed, kind, number): the same seed gives the same faults, whatever happens in between.

The hash is BLAKE2b (RFC 7693), whose 64 bits are uniform; nothing is taken from a clock, and one kind of fault never moves the draws of another.
"""

from __future__ import annotations

import hashlib

import msgspec

from duende.errors import ConfigError


def uniform(seed: int, kind: str, number: int) -> float:
    """Draw *number* of *kind*: a number in [0, 1), evenly spread, in steps of 2**-53."""
    digest = hashlib.blake2b(f"{seed}/{kind}/{number}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def fires(seed: int, kind: str, number: int, probability: float) -> bool:
    """Whether draw *number* of *kind* is a hit: with that *probability*, never at 0.0 and always at 1.0."""
    return uniform(seed, kind, number) < probability


class Draws(msgspec.Struct, kw_only=True):
    """How often one kind of fault was drawn for, and how often it fired."""

    probability: float
    draws: int = 0
    fired: int = 0

    @property
    def rate(self) -> float:
        """Hits per draw, 0 without draws."""
        return self.fired / self.draws if self.draws else 0.0


class Dice:
    """Draws one after the other, and counts."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tally: dict[str, Draws] = {}
        """By kind."""

    def roll(self, kind: str, probability: float) -> bool:
        """The next draw of *kind*."""
        tally = self.tally.setdefault(kind, Draws(probability=probability))
        number = tally.draws
        tally.draws += 1
        hit = fires(self.seed, kind, number, probability)
        tally.fired += hit
        return hit


def check_probability(key: str, value: float | None) -> None:
    """Refuse what is no probability.

    Raises:
        ConfigError: *value* is not between 0 and 1.
    """
    if value is not None and not 0 <= value <= 1:
        raise ConfigError(f"{key} is {value!r}, but must be 0 to 1", key=key)
