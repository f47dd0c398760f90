"""The second table: what one call to a platform costs through duende's adapter, the raw API, a library and the command line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.table import HERO, NARROW, Row, Samples, short, value

RAW = "raw API"
LIBRARY = "library"
COMMAND = "command"
COLUMNS = (HERO, RAW, LIBRARY, COMMAND)
TITLE = 28


@dataclass(frozen=True, kw_only=True)
class Aim:
    """duende takes at most *times* as long as that column."""

    of: str
    times: float

    def __str__(self) -> str:
        if self.times < 1:
            return f"{1 / self.times:.3g}x faster than {self.of}"
        return f"<= {self.times:.3g}x {self.of}"


@dataclass(frozen=True, kw_only=True)
class Call(Row):
    """One line: the median of one call in each column."""

    aim: str = ""
    platform: str
    """Whose call it is."""
    aims: tuple[Aim, ...]


CALLS = (
    Call(
        figure="docker-status",
        title="Docker status of one",
        platform="docker",
        aims=(Aim(of=RAW, times=3), Aim(of=COMMAND, times=1 / 8)),
    ),
    Call(figure="docker-signal", title="Docker signal", platform="docker", aims=(Aim(of=RAW, times=1.15),)),
    Call(
        figure="docker-start",
        title="Docker start, detached",
        platform="docker",
        aims=(Aim(of=RAW, times=1.15),),
    ),
    Call(
        figure="systemd-status",
        title="systemd status of one",
        platform="systemd",
        aims=(Aim(of=LIBRARY, times=2),),
    ),
    Call(figure="systemd-signal", title="systemd signal", platform="systemd", aims=(Aim(of=RAW, times=2),)),
    Call(
        figure="systemd-start",
        title="systemd start until exec'd",
        platform="systemd",
        aims=(Aim(of=RAW, times=1.15),),
    ),
)
"""What the columns are is said where they are measured, in `platforms`."""


def ratio(samples: Samples, call: Call, aim: Aim) -> float | None:
    """Duende over the column of the *aim*; None where one of the two was not measured."""
    mine, other = value(samples, HERO, call), value(samples, aim.of, call)
    return mine / other if mine is not None and other else None


def met(samples: Samples, call: Call, aim: Aim) -> bool | None:
    """Whether the *aim* was reached; None where nobody can tell."""
    found = ratio(samples, call, aim)
    return None if found is None else found <= aim.times


def report(samples: Samples) -> list[dict[str, object]]:
    """What goes into bench.json: of each call its columns and what became of its aims."""
    return [
        {
            "title": call.title,
            "figure": call.figure,
            "values": {column: value(samples, column, call) for column in COLUMNS},
            "aims": [
                {
                    "of": aim.of,
                    "times": aim.times,
                    "ratio": ratio(samples, call, aim),
                    "met": met(samples, call, aim),
                }
                for aim in call.aims
            ],
        }
        for call in CALLS
    ]


def render(samples: Samples, calls: Sequence[Call]) -> str:
    """The table; empty where nothing was measured."""
    names = "".join(f"{name:>{NARROW}}" for name in COLUMNS)
    head = f"{'one call, p50 in ms':<{TITLE}}{names}{'ratio':>8}  aim"
    out = []
    for call in calls:
        found = [value(samples, column, call) for column in COLUMNS]
        if not any(each is not None for each in found):
            continue
        cells = "".join(f"{'-' if each is None else short(each):>{NARROW}}" for each in found)
        text = f"{call.title:<{TITLE}}{cells}"
        for aim in call.aims:
            out.append(f"{text}{_over(ratio(samples, call, aim)):>8}  {aim}{_said(met(samples, call, aim))}")
            text = " " * (TITLE + NARROW * len(COLUMNS))
    return "\n".join([head, "-" * len(head), *out]) if out else ""


def _over(found: float | None) -> str:
    if found is None:
        return "-"
    return f"{found:.2f}x" if found >= 0.1 else f"1/{1 / found:.0f}x"


def _said(reached: bool | None) -> str:
    return "" if reached is None else "" if reached else ": missed"
