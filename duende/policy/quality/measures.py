"""What is measured of source files, by radon and vulture, and the score that is made of it."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Sequence

import msgspec

from duende.errors import NotSupportedError
from duende.policy.quality.sources import parsed, text_of

SATD = re.compile(r"\b(TODO|FIXME|HACK|XXX|KLUDGE|WORKAROUND)\b")
"""Words by which authors admit a debt themselves (A. Potdar, E. Shihab, 2014)."""
CALLED_BY_DUENDE = ("init", "run", "shutdown", "health_check", "reload", "name", "announces_ready")
"""What `Daemon` calls or reads, and no code of the author's."""
DEAD_CONFIDENCE = 60
"""Percent: vulture's own default, which takes in functions and classes that nobody uses."""


class Finding(msgspec.Struct, frozen=True):
    """Something at a place."""

    path: str
    line: int
    what: str
    value: float = 1.0

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.path}:{self.line}"


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a daemon's code."""

    files: tuple[str, ...]
    lines: int
    """Lines of code: neither empty nor comments alone."""
    complexity: tuple[Finding, ...] = ()
    """Each function with its cyclomatic complexity, the most complex first."""
    satd: tuple[Finding, ...] = ()
    dead: tuple[Finding, ...] = ()
    """What nothing uses or reaches, `value` in lines."""
    maintainability: float = 100.0
    """Of the worst file."""

    @property
    def max_complexity(self) -> float:
        """Of the most complex function; 0 without functions."""
        return self.complexity[0].value if self.complexity else 0.0

    @property
    def dead_percent(self) -> float:
        """Dead lines of all lines of code."""
        return min(100.0, 100.0 * sum(each.value for each in self.dead) / max(1, self.lines))

    @property
    def score(self) -> float:
        """0 to 100."""
        return score_of(self.max_complexity, len(self.satd), self.dead_percent, self.maintainability)


def score_of(complexity: float, satd: int, dead_percent: float, maintainability: float) -> float:
    """The score; the package says what it is made of."""
    parts = (
        (40.0, (30.0 - complexity) / 20.0),
        (20.0, 1.0 - satd / 10.0),
        (20.0, 1.0 - dead_percent / 20.0),
        (20.0, maintainability / 40.0),
    )
    return sum(weight * max(0.0, min(1.0, factor)) for weight, factor in parts)


def measure(paths: Sequence[str], *, used: Iterable[str] = ()) -> Measures:
    """Measure the files at *paths* together; *used* are names that somebody outside uses.

    Raises:
        ConfigError: a file cannot be read, or is no Python.
        NotSupportedError: radon or vulture is not installed.
    """
    try:
        from radon.complexity import cc_visit
        from radon.metrics import mi_visit
        from radon.raw import analyze
    except ImportError as error:
        raise _missing() from error
    complexity: list[Finding] = []
    debts: list[Finding] = []
    lines, worst = 0, 100.0
    texts = {path: text_of(path) for path in paths}
    for path, text in texts.items():
        parsed(path, text)
        lines += analyze(text).sloc
        worst = min(worst, mi_visit(text, multi=True))
        complexity += [
            Finding(path, block.lineno, block.fullname, float(block.complexity))
            for block in cc_visit(text)
            if not hasattr(block, "methods")  # a class is the sum of its methods, which come by themselves
        ]
        debts += satd(path, text)
    complexity.sort(key=lambda each: (-each.value, each.path, each.line))
    return Measures(
        files=tuple(paths),
        lines=lines,
        complexity=tuple(complexity),
        satd=tuple(debts),
        dead=tuple(_dead(texts, {*CALLED_BY_DUENDE, *used})),
        maintainability=worst,
    )


def satd(path: str, text: str) -> list[Finding]:
    """Admitted debts in comments; what stands in a string is none."""
    return [
        Finding(path, token.start[0], token.string.lstrip("# ").strip())
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and SATD.search(token.string)
    ]


def _dead(texts: dict[str, str], used: set[str]) -> list[Finding]:
    try:
        from vulture import Vulture
    except ImportError as error:
        raise _missing() from error
    judge = Vulture(ignore_names=sorted(used))
    for path, text in texts.items():
        judge.scan(text, filename=path)
    items = judge.get_unused_code(min_confidence=DEAD_CONFIDENCE)
    found = []
    covered: set[tuple[str, int]] = set()
    for item in sorted(items, key=lambda each: (str(each.filename), each.first_lineno, -each.size)):
        span = {(str(item.filename), line) for line in range(item.first_lineno, item.last_lineno + 1)}
        fresh = span - covered  # an unused method of an unused class is not dead twice
        covered |= span
        if fresh:
            found.append(Finding(str(item.filename), item.first_lineno, item.message, float(len(fresh))))
    return found


def _missing() -> NotSupportedError:
    return NotSupportedError(
        "the quality gate", "measure code", remedy="python -m pip install 'duende[policy]'"
    )
