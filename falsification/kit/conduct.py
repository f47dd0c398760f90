"""Conduct one attempt: run it with its deadline, clean up after it, and turn what happened into a verdict."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from falsification.kit import needs
from falsification.kit.outcomes import AttemptTimeout, Falsified, Unattempted, Vacuous
from falsification.kit.record import Record
from falsification.kit.trial import Trial
from falsification.kit.verdict import Level, Verdict

CLEANUP_S = 20.0
"""Seconds all cleanups of one attempt may take together: more than the longest stop deadline any attempt
uses.
"""
HARD_GRACE_S = 5.0
"""Seconds after the attempt's deadline at which a blocked event loop is interrupted by a signal."""

Finding = tuple[Verdict, str]


def conduct(trial: Trial, body: Callable[[Trial], Any]) -> Record:
    """Run *body* with *trial* and return what came of it. Never raises for anything the attempt does."""
    began = time.monotonic()
    replaced = trial.attempt.stand_in
    required = (name for name in trial.claim.needs if name not in replaced)
    lacking = needs.missing((*required, *trial.attempt.needs))
    if missed := needs.missing(replaced):
        trial.level = Level.EMULATED
        trial.log(f"with a stand-in: {'; '.join(missed)}")
    if lacking:
        verdict, why = Verdict.UNATTEMPTED, "; ".join(lacking)
    else:
        with _own_folders(trial):
            verdict, why = _run(trial, body)
    trial.log(f"verdict: {verdict.value}{': ' if why else ''}{why}")
    return Record.of(trial, verdict, why, time.monotonic() - began)


def conclude(trial: Trial, *, to_the_end: bool) -> list[Finding]:
    """What the evidence of *trial* says, apart from exceptions.

    An attempt that did not run *to_the_end* has no situations to miss; a figure that failed before counts all
    the same.
    """
    findings: list[Finding] = [(Verdict.FALSIFIED, failure) for failure in trial.failures]
    findings += [(Verdict.FALSIFIED, str(figure)) for figure in trial.figures if not figure.holds]
    if not to_the_end:
        return findings
    findings += [
        (Verdict.VACUOUS, f"never reached: {each}") for each in trial.situations.values() if not each.met
    ]
    if not trial.situations:
        findings.append(
            (
                Verdict.VACUOUS,
                "no situation was declared: nothing shows that the attempt reached what it is about",
            )
        )
    bound = trial.claim.threshold
    if bound is not None and not any(bound.judged_by(figure) for figure in trial.figures):
        findings.append((Verdict.BROKEN, f"the claim's own threshold was never judged: {bound}"))
    return findings


def _run(trial: Trial, body: Callable[[Trial], Any]) -> Finding:
    ended = _Ended()
    try:
        if inspect.iscoroutinefunction(body):
            with _hard_deadline(trial.attempt.timeout + CLEANUP_S + HARD_GRACE_S):
                asyncio.run(_run_async(trial, body, ended))
        else:
            _run_plain(trial, body, ended)
    except Exception as error:  # noqa: BLE001  (judged, not lost)
        ended.early = ended.early or judge_error(trial, error)
    findings = [ended.early] if ended.early else []
    findings += ended.cleanup
    findings += conclude(trial, to_the_end=ended.early is None)
    if not findings:
        return Verdict.SURVIVED, ""
    worst = Verdict.worst(verdict for verdict, _ in findings)
    return worst, "; ".join(dict.fromkeys(why for verdict, why in findings if verdict is worst))


@dataclass
class _Ended:
    """How the body ended: early with a finding or not, and what went wrong while cleaning up."""

    early: Finding | None = None
    cleanup: list[Finding] = field(default_factory=list)


async def _run_async(trial: Trial, body: Callable[[Trial], Any], ended: _Ended) -> None:
    limit = asyncio.timeout(trial.attempt.timeout)
    try:
        async with limit:
            await body(trial)
    except Exception as error:  # noqa: BLE001  (judged, not lost)
        if isinstance(error, TimeoutError) and limit.expired():
            error = AttemptTimeout(f"the attempt did not end within {trial.attempt.timeout:g} s")
        ended.early = judge_error(trial, error)
    finally:
        await _clean_async(trial, ended)


async def _clean_async(trial: Trial, ended: _Ended) -> None:
    deadline = asyncio.get_running_loop().time() + CLEANUP_S
    while trial.cleanups:
        cleanup, arguments = trial.cleanups.pop()
        try:
            async with asyncio.timeout_at(deadline):
                result = cleanup(*arguments)
                if inspect.isawaitable(result):
                    await result
        except Exception as error:  # noqa: BLE001  (one failed cleanup must not keep the next from running)
            ended.cleanup.append(_cleanup_failed(trial, cleanup, error))


def _run_plain(trial: Trial, body: Callable[[Trial], Any], ended: _Ended) -> None:
    try:
        with _hard_deadline(trial.attempt.timeout):
            body(trial)
    except Exception as error:  # noqa: BLE001  (judged, not lost)
        ended.early = judge_error(trial, error)
    while trial.cleanups:
        cleanup, arguments = trial.cleanups.pop()
        try:
            cleanup(*arguments)
        except Exception as error:  # noqa: BLE001  (one failed cleanup must not keep the next from running)
            ended.cleanup.append(_cleanup_failed(trial, cleanup, error))


def _cleanup_failed(trial: Trial, cleanup: Callable[..., object], error: Exception) -> Finding:
    name = getattr(cleanup, "__qualname__", repr(cleanup))
    trial.log(f"cleanup {name} failed: {type(error).__name__}: {error}")
    return Verdict.BROKEN, f"cleanup {name} failed: {type(error).__name__}: {error}"


def judge_error(trial: Trial, error: BaseException) -> Finding:
    """Which verdict an exception out of an attempt means; the traceback of a surprise goes into the log."""
    text = str(error).strip()
    match error:
        case Falsified():
            return Verdict.FALSIFIED, text
        case AssertionError():
            _log_traceback(trial, error)
            return Verdict.FALSIFIED, text.splitlines()[0] if text else "an assertion failed"
        case Unattempted():
            return Verdict.UNATTEMPTED, text
        case Vacuous():
            return Verdict.VACUOUS, text
    _log_traceback(trial, error)
    return Verdict.BROKEN, f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"


def _log_traceback(trial: Trial, error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).rstrip().splitlines():
        trial.log(line)


@contextmanager
def _own_folders(trial: Trial) -> Iterator[None]:
    """Give the product state and runtime folders of this attempt's own, so that neither runs nor mutants meet
    each other's processes.
    """
    folders = {name: str(trial.tmp / short) for name, short in _FOLDERS.items()}
    before = {name: os.environ.get(name) for name in folders}
    for folder in folders.values():
        os.makedirs(folder, mode=0o700, exist_ok=True)
    os.environ.update(folders)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_FOLDERS = {"XDG_RUNTIME_DIR": "r", "XDG_STATE_HOME": "s", "XDG_CONFIG_HOME": "c", "XDG_CACHE_HOME": "k"}


@contextmanager
def _hard_deadline(seconds: float) -> Iterator[None]:
    """Interrupt whatever runs after *seconds*, also a blocked event loop; the last resort behind the async
    deadline.
    """

    def expired(_number: int, _frame: object) -> None:
        raise AttemptTimeout(f"the attempt was still running after {seconds:g} s and was interrupted")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
