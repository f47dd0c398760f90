"""An attempt's end becomes the right verdict."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from falsification.kit.claim import Threshold
from falsification.kit.conduct import conduct
from falsification.kit.outcomes import Unattempted, Vacuous
from falsification.kit.trial import Trial
from falsification.kit.verdict import Verdict
from falsification.units.kit.conftest import MakeTrial

QUICK = Threshold(figure="time", statistic="max", relation="<", value=10, unit="ms")


def good(trial: Trial) -> None:
    """Reaches its situation and finds nothing."""
    trial.reached("it was tried")


def raising(error: BaseException) -> Any:
    """An attempt that raises *error* after reaching its situation."""

    async def body(trial: Trial) -> None:
        trial.reached("it was tried")
        raise error

    return body


def test_a_good_attempt_survives(make_trial: MakeTrial) -> None:
    """Nothing found, and the situation reached: survived, without a reason."""
    record = conduct(make_trial(), good)
    assert (record.verdict, record.why, record.level) == (Verdict.SURVIVED, "", "process")


@pytest.mark.parametrize(
    ("error", "verdict", "why"),
    [
        (AssertionError("left != right\nmore"), Verdict.FALSIFIED, "left != right"),
        (AssertionError(), Verdict.FALSIFIED, "an assertion failed"),
        (KeyError("oops"), Verdict.BROKEN, "KeyError: 'oops'"),
        (TimeoutError("slow"), Verdict.BROKEN, "TimeoutError: slow"),
        (OSError(), Verdict.BROKEN, "OSError: no message"),
        (Unattempted("no redis"), Verdict.UNATTEMPTED, "no redis"),
        (Vacuous("limit not hit"), Verdict.VACUOUS, "limit not hit"),
    ],
)
def test_what_is_raised_decides(make_trial: MakeTrial, error: Exception, verdict: Verdict, why: str) -> None:
    """An assertion falsifies, a surprise breaks, and neither is ever a pass."""
    record = conduct(make_trial(), raising(error))
    assert (record.verdict, record.why) == (verdict, why)


def test_an_attempt_without_situation_is_vacuous(make_trial: MakeTrial) -> None:
    """An attempt that does nothing does not survive."""
    record = conduct(make_trial(), lambda trial: trial.log("did nothing"))
    assert record.verdict is Verdict.VACUOUS


@pytest.mark.parametrize("count", [0, False, 2])
def test_an_unmet_situation_is_vacuous(make_trial: MakeTrial, count: int) -> None:
    """Reached too rarely is not reached."""
    record = conduct(make_trial(), lambda trial: trial.reached("a kill", count, at_least=3))
    assert record.verdict is Verdict.VACUOUS
    assert f"a kill: {int(count)} of at least 3" in record.why


def test_a_failing_figure_falsifies(make_trial: MakeTrial) -> None:
    """The figure is recorded, does not raise, and decides at the end."""

    def body(trial: Trial) -> None:
        trial.reached("timed")
        assert trial.judge([1.0, 11.0]).holds is False

    record = conduct(make_trial(threshold=QUICK), body)
    assert (record.verdict, record.why) == (Verdict.FALSIFIED, "time (max) = 11 ms, not < 10 ms")
    assert record.figures[0]["samples"] == [1.0, 11.0]


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "ms", "relation": "<", "threshold": 1000, "statistic": "max"},
        {"unit": "ms", "relation": "<", "threshold": 10, "statistic": "p50"},
        {"unit": "s", "relation": "<", "threshold": 10, "statistic": "max"},
        {"unit": "ms", "statistic": "max"},
    ],
)
def test_a_weaker_threshold_breaks(make_trial: MakeTrial, options: dict[str, Any]) -> None:
    """An attempt that judges by another bound than the claim's is broken, whatever it measured."""

    def body(trial: Trial) -> None:
        trial.reached("timed")
        trial.figure("time", [1.0, 2.0], **options)

    record = conduct(make_trial(threshold=QUICK), body)
    assert record.verdict is Verdict.BROKEN
    assert "never judged" in record.why


def test_a_counterexample_outweighs_what_broke_later(make_trial: MakeTrial) -> None:
    """A figure that failed stays failed when the attempt breaks afterwards."""

    def body(trial: Trial) -> None:
        trial.judge(50.0)
        raise OSError("later")

    bound = Threshold(figure="time", statistic="only", relation="<", value=10, unit="ms")
    assert conduct(make_trial(threshold=bound), body).verdict is Verdict.FALSIFIED


def test_expectations_are_collected(make_trial: MakeTrial) -> None:
    """`expect` goes on, and every sentence is in the reason."""

    def body(trial: Trial) -> None:
        trial.reached("tried")
        trial.expect(False, "one")
        trial.expect(True, "two")
        trial.expect(False, "three")

    record = conduct(make_trial(), body)
    assert record.why == "does not hold: one; does not hold: three"


def test_a_missing_need_is_unattempted(make_trial: MakeTrial) -> None:
    """The body is not run, and the need is named."""

    def body(trial: Trial) -> None:
        raise AssertionError("was run")

    record = conduct(make_trial(needs=("a-program-nobody-has",)), body)
    assert record.verdict is Verdict.UNATTEMPTED
    assert "a-program-nobody-has" in record.why


def test_an_attempt_beyond_its_time_is_broken_and_cleaned(make_trial: MakeTrial) -> None:
    """The deadline ends it, and its cleanups run, last in first out."""
    order: list[str] = []

    async def body(trial: Trial) -> None:
        async def later() -> None:
            order.append("async")

        trial.defer(order.append, "plain")
        trial.defer(later)
        await asyncio.Event().wait()

    record = conduct(make_trial(timeout=0.01), body)
    assert (record.verdict, order) == (Verdict.BROKEN, ["async", "plain"])
    assert "did not end within 0.01 s" in record.why


def test_a_plain_attempt_beyond_its_time_is_broken(make_trial: MakeTrial) -> None:
    """A function that never returns is interrupted too."""

    def body(_trial: Trial) -> None:
        while True:
            pass

    assert conduct(make_trial(timeout=0.02), body).verdict is Verdict.BROKEN


def test_a_failed_cleanup_breaks(make_trial: MakeTrial) -> None:
    """An attempt that cannot tidy up may have left something behind; its other cleanups run."""
    ran: list[int] = []

    def body(trial: Trial) -> None:
        trial.reached("tried")
        trial.defer(ran.append, 1)
        trial.defer(lambda: 1 / 0)

    record = conduct(make_trial(), body)
    assert (record.verdict, ran) == (Verdict.BROKEN, [1])


def test_the_product_gets_folders_of_its_own(make_trial: MakeTrial) -> None:
    """State and runtime folders lie in the trial's folder, and the environment is as before afterwards."""
    before = dict(os.environ)
    seen: dict[str, str] = {}

    def body(trial: Trial) -> None:
        trial.reached("looked")
        seen.update(os.environ)

    trial = make_trial()
    conduct(trial, body)
    assert seen["XDG_RUNTIME_DIR"].startswith(str(trial.tmp))
    assert seen["XDG_STATE_HOME"].startswith(str(trial.tmp))
    assert dict(os.environ) == before


def test_a_stand_in_weakens_the_evidence(make_trial: MakeTrial) -> None:
    """With a stand-in for a missing need the attempt runs as `emulated`; where the need is there it keeps its level."""
    record = conduct(make_trial(needs=("no-such-platform",), stand_in=("no-such-platform",)), good)
    assert (record.verdict, record.level) == (Verdict.SURVIVED, "emulated")
    record = conduct(make_trial(needs=("sh",), stand_in=("sh",)), good)
    assert (record.verdict, record.level) == (Verdict.SURVIVED, "process")
    record = conduct(make_trial(needs=("no-such-platform", "nor-that"), stand_in=("no-such-platform",)), good)
    assert (record.verdict, record.why) == (
        Verdict.UNATTEMPTED,
        "nor-that: no such program on the path",
    )
