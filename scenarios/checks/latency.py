"""How long answers take."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from scenarios.checks.core import Checker, Result, false, true, unknown, vacuous
from scenarios.history import Kind, Operation, pairs


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the fraction *q* of *values* does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def answers_within(f: str, *, q: float, seconds: float, at_least: int = 20) -> Checker:
    """The *q* quantile of the time that *f* takes is below *seconds*; an answer that never came counts as
    endless.
    """

    def answers_within_check(history: Sequence[Operation]) -> Result:
        spans = [end.time - begun.time if end else math.inf for begun, end in pairs(history) if begun.f == f]
        if len(spans) < at_least:
            return vacuous(f"only {len(spans)} of {at_least} {f} operations")
        found = quantile(spans, q)
        text = f"p{q * 100:g} of {len(spans)} {f} operations is {found * 1000:.1f} ms"
        return true(text) if found < seconds else false(f"{text}, limit {seconds * 1000:g} ms")

    return answers_within_check


def answers_while(f: str, during: Collection[str], *, q: float, seconds: float, at_least: int) -> Checker:
    """The *q* quantile of the time that *f* takes while one of the faults *during* is on, from its proof to its healing, is below *seconds*."""

    def answers_while_check(history: Sequence[Operation]) -> Result:
        steps = [
            (begun, end)
            for begun, end in pairs(history)
            if begun.process == "nemesis" and begun.value.get("fault") in during
        ]
        on = [end.time for begun, end in steps if begun.f == "inject" and end and end.kind is Kind.OK]
        off = [begun.time for begun, _ in steps if begun.f == "heal"]
        windows = [(at, min((each for each in off if each >= at), default=math.inf)) for at in on]
        spans = [
            end.time - begun.time if end else math.inf
            for begun, end in pairs(history)
            if begun.f == f
            and any(at <= (end.time if end else math.inf) and begun.time <= till for at, till in windows)
        ]
        if len(spans) < at_least:
            return vacuous(f"only {len(spans)} of {at_least} {f} operations while a fault was on")
        found = quantile(spans, q)
        text = f"p{q * 100:g} of {len(spans)} {f} operations under {len(windows)} faults is {found * 1000:.1f} ms"
        return true(text) if found < seconds else false(f"{text}, limit {seconds * 1000:g} ms")

    return answers_while_check


def takes_at_most(f: str, seconds: float) -> Checker:
    """No *f* takes longer than *seconds*, whatever the wall clock does."""

    def takes_at_most_check(history: Sequence[Operation]) -> Result:
        spans = []
        for begun, end in pairs(history):
            if begun.f == f:
                if end is None:
                    return unknown(f"a {f} has no end")
                spans.append(end.time - begun.time)
        if not spans:
            return vacuous(f"no {f} was done")
        if max(spans) > seconds:
            return false(f"a {f} took {max(spans):.3f} s, limit {seconds:g} s")
        return true(f"{len(spans)} {f} operations took at most {max(spans):.3f} s")

    return takes_at_most_check


def only_expected_errors(*expected: str) -> Checker:
    """Whatever fails, fails with one of the *expected* error classes; a client never sees anything else."""

    def only_expected_errors_check(history: Sequence[Operation]) -> Result:
        done = [
            end
            for begun, end in pairs(history)
            if end is not None and begun.process not in ("nemesis", "engine")
        ]
        if not done:
            return vacuous("no operation was completed")
        for end in done:
            if end.kind is not Kind.OK and end.value.get("error") not in expected:
                return false(f"{end.f} ended unexpectedly: {end.value}")
        failed = sum(end.kind is not Kind.OK for end in done)
        return true(f"{len(done)} operations, {failed} with an expected error")

    return only_expected_errors_check
