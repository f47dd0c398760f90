"""What is asked of a platform, and how its columns are interleaved."""

from __future__ import annotations

import asyncio
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

Step = Callable[[], Awaitable[float]]
"""One call, in ms. What it made is cleared away before it returns, untimed."""
Samples = dict[str, dict[str, list[float]]]
"""Column, figure, what was measured."""
SETTLE = 0.003
"""Seconds in which what one column's call has set off arrives, so that the next column's time does not hold it."""
GONE_WITHIN = 20.0
"""Seconds for what a start made to be gone again."""


class CallError(Exception):
    """A call did not do what it should; the figure is missing, not zero."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """How often each call is made in one round."""

    quick: int = 50
    """Status and signal."""
    starts: int = 10


class Platform(ABC):
    """One platform; an instance lives for one round."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What the columns are, printed below the table."""

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """Why it cannot be had here, or nothing."""

    @abstractmethod
    async def measure(self, figures: frozenset[str], times: Times) -> Samples:
        """Measure those of the *figures* that are this platform's.

        Raises:
            CallError: a call did not do what it should.
        """


async def interleaved(figure: str, steps: Mapping[str, Step], times: int) -> Samples:
    """Every column *times* times, one after the other, beginning with another one each time. The first turn warms up and does not count."""
    names = list(steps)
    samples: Samples = {name: {figure: []} for name in names}
    for number in range(times + 1):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            took = await steps[name]()
            if number:
                samples[name][figure].append(took)
            await asyncio.sleep(SETTLE)
    return samples


def merge(into: Samples, more: Samples) -> None:
    """Add *more* to what is there."""
    for name, figures in more.items():
        mine = into.setdefault(name, {})
        for figure, values in figures.items():
            mine.setdefault(figure, []).extend(values)


def plain(call: Callable[[], object]) -> Step:
    """A call that blocks."""

    async def step() -> float:
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) * 1e3

    return step


def awaited(call: Callable[[], Awaitable[object]]) -> Step:
    """A call that is awaited."""

    async def step() -> float:
        began = time.perf_counter()
        await call()
        return (time.perf_counter() - began) * 1e3

    return step


def command(argv: Sequence[str]) -> str:
    """The output of a command that succeeds.

    Raises:
        CallError: it did not.
    """
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CallError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


async def until(look: Callable[[], bool], what: str) -> None:
    """Wait for what *look* sees; not timed.

    Raises:
        CallError: it did not come.
    """
    deadline = time.monotonic() + GONE_WITHIN
    while not look():
        if time.monotonic() > deadline:
            raise CallError(f"not within {GONE_WITHIN:g} s: {what}")
        await asyncio.sleep(SETTLE)
