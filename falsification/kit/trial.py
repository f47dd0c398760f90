"""The Trial: what an attempt is handed, to measure, check, guard against vacuity and leave evidence."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falsification.kit import needs
from falsification.kit.authoring import Attempt
from falsification.kit.claim import Claim
from falsification.kit.figure import Figure
from falsification.kit.outcomes import DeadlineExceeded, Falsified, Unattempted, Vacuous
from falsification.kit.verdict import Level

if TYPE_CHECKING:
    from collections.abc import Generator

POLL_S = 0.005
"""Seconds between two looks of `Trial.until`: short against every deadline of the claims, long against a
look.
"""


@dataclass(kw_only=True)
class Situation:
    """A situation the attempt must reach for its result to mean anything."""

    what: str
    """The situation, in words."""
    at_least: int
    """How often it must be reached."""
    count: int = 0
    """How often it was."""

    @property
    def met(self) -> bool:
        """Whether it was reached often enough."""
        return self.count >= self.at_least

    def __str__(self) -> str:
        return f"{self.what}: {self.count} of at least {self.at_least} times"


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file of evidence."""

    name: str
    """File name, unique within the attempt."""
    data: bytes
    """Its content."""
    mime: str
    """Its media type."""


@dataclass(kw_only=True)
class Trial:
    """One run of one attempt."""

    claim: Claim
    """The claim that is tried."""
    attempt: Attempt
    """The attempt's own description."""
    seed: int
    """Seed of this attempt, derived from the run's seed and the claim's id; the same seed gives the same
    `rng`.
    """
    tmp: Path
    """An empty folder of its own, with a path short enough for unix sockets; removed afterwards."""
    saboteur: str = ""
    """Name of the planted defect this runs under, or empty."""
    level: Level = field(init=False)
    """The evidence this run gives; an attempt that had to fall back on something weaker says so here."""
    rng: random.Random = field(init=False)
    """Randomness from `seed`."""
    figures: list[Figure] = field(default_factory=list)
    situations: dict[str, Situation] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    cleanups: list[tuple[Callable[..., object], tuple[Any, ...]]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = self.attempt.level
        self.rng = random.Random(self.seed)

    # Measuring

    def judge(self, samples: float | Sequence[float], *, name: str = "") -> Figure:
        """Record the claim's own figure, judged by the claim's own threshold (thresholds.toml). Does not
        raise when it fails.

        Raises:
            FigureError: the claim has no threshold, or the samples make no figure.
        """
        bound = self.claim.threshold
        if bound is None:
            from falsification.kit.figure import FigureError

            raise FigureError(f"{self.claim.id} has no threshold in thresholds.toml; use check() or figure()")
        return self.figure(
            name or bound.figure,
            samples,
            unit=bound.unit,
            relation=bound.relation,
            threshold=bound.value,
            statistic=bound.statistic,
        )

    def figure(
        self,
        name: str,
        samples: float | Sequence[float],
        *,
        unit: str,
        relation: str | None = None,
        threshold: float | None = None,
        statistic: str = "only",
    ) -> Figure:
        """Record a figure. With *relation* and *threshold* it is judged at the end of the attempt; without,
        it is for the reader.

        Raises:
            FigureError: no samples, a sample that is not finite, an unknown relation or statistic.
        """
        made = Figure.of(
            name, samples, unit=unit, relation=relation, threshold=threshold, statistic=statistic
        )
        self.figures.append(made)
        self.log(f"figure: {made}")
        return made

    # Checking

    def check(self, condition: object, sentence: str) -> None:
        """Falsify the claim unless *condition*; *sentence* says what should have held.

        Raises:
            Falsified: the condition does not hold.
        """
        if not condition:
            raise Falsified(f"does not hold: {sentence}")

    def expect(self, condition: object, sentence: str) -> None:
        """As `check`, but go on: the attempt is falsified at its end, with every such sentence."""
        if not condition:
            self.failures.append(f"does not hold: {sentence}")
            self.log(self.failures[-1])

    @contextmanager
    def claimed(self, sentence: str, *errors: type[Exception]) -> Generator[None]:
        """The claim promises that this block works: any of *errors* (default: every Exception) raised in it
        falsifies.

        Raises:
            Falsified: the block raised one of *errors*.
        """
        try:
            yield
        except (Falsified, Unattempted, Vacuous):
            raise
        except Exception as error:
            if errors and not isinstance(error, errors):
                raise
            raise Falsified(f"does not hold: {sentence}: {type(error).__name__}: {error}") from error

    async def until(
        self,
        condition: Callable[[], Any] | Awaitable[Any],
        *,
        within: float,
        what: str,
        claimed: bool = False,
        every: float = POLL_S,
    ) -> Any:
        """Wait at most *within* seconds (monotonic) until *condition* is true, and return its value.

        *condition* is an awaitable, waited for once, or a function (plain or async), looked at every *every*
        seconds.
        Say *claimed* where the claim itself promises it in time.

        Raises:
            Falsified: time is up and the claim promised it.
            DeadlineExceeded: time is up and only the attempt counted on it; the verdict is broken.
        """
        deadline = time.monotonic() + within
        try:
            async with asyncio.timeout(within):
                if not callable(condition):
                    return await condition
                while True:
                    seen = condition()
                    value: Any = await seen if inspect.isawaitable(seen) else seen
                    if value:
                        return value
                    await asyncio.sleep(every)
        except TimeoutError as error:
            if time.monotonic() < deadline:
                raise  # a timeout of the condition's own
            kind = Falsified if claimed else DeadlineExceeded
            raise kind(f"not within {within:g} s: {what}") from error

    # Guards against vacuity

    def situation(self, what: str, *, at_least: int = 1) -> None:
        """Declare a situation that must be reached, before trying to; unmet at the end, the verdict is
        vacuous.
        """
        self.situations.setdefault(what, Situation(what=what, at_least=at_least))

    def reached(self, what: str, count: int | bool = 1, *, at_least: int = 1) -> None:
        """Say that a situation was reached *count* more times (False or 0: it was not). Declares it where
        nobody did.
        """
        self.situation(what, at_least=at_least)
        self.situations[what].count += int(count)

    def have(self, *names: str) -> bool:
        """Whether the machine has all of these needs or programs."""
        return not needs.missing(names)

    def require(self, *names: str) -> None:
        """End the attempt as unattempted unless the machine has all of these needs or programs.

        Raises:
            Unattempted: something is missing; the text names it.
        """
        lacking = needs.missing(names)
        if lacking:
            raise Unattempted("; ".join(lacking))

    # Conduct

    @property
    def sabotaged(self) -> bool:
        """Whether a defect is planted.

        For sizing the run only: an attempt that looks for its saboteur proves nothing.
        """
        return bool(self.saboteur)

    def rounds(self, normal: int, under_saboteur: int) -> int:
        """How many rounds to run: fewer under a saboteur, where fewer are enough to notice it."""
        return under_saboteur if self.sabotaged else normal

    def defer(self, cleanup: Callable[..., object], *arguments: Any) -> None:
        """Call *cleanup* (plain or async) at the end whatever happens, last in first out."""
        self.cleanups.append((cleanup, arguments))

    # Evidence

    def log(self, line: str) -> None:
        """Add a line to the attempt's log, with seconds since its start."""
        self.lines.append(f"{time.monotonic() - self._began:9.3f}  {line}")

    def attach(self, name: str, data: bytes | str, mime: str = "text/plain") -> None:
        """Keep *data* as a file of evidence; a second one of a name gets a number."""
        names = {attachment.name for attachment in self.attachments}
        stem, dot, suffix = name.partition(".")
        unique = name
        for number in range(2, len(names) + 2):
            if unique not in names:
                break
            unique = f"{stem}-{number}{dot}{suffix}"
        content = data.encode() if isinstance(data, str) else data
        self.attachments.append(Attachment(name=unique, data=content, mime=mime))
