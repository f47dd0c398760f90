"""What the tests of the kit share: claims, attempts and trials made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from falsification.kit.authoring import Attempt
from falsification.kit.claim import Claim, Threshold
from falsification.kit.trial import Trial
from falsification.kit.verdict import Level

MakeTrial = Callable[..., Trial]


def make_claim(
    name: str = "F001", *, threshold: Threshold | None = None, needs: tuple[str, ...] = ()
) -> Claim:
    """A claim with nothing special about it."""
    return Claim(
        id=name,
        category="A",
        title="It works",
        attempt="try it",
        criterion="it worked",
        needs=needs,
        requires=Level.PROCESS,
        reading="",
        threshold=threshold,
    )


@pytest.fixture
def make_trial(tmp_path: Path) -> MakeTrial:
    """Makes a trial of a claim with the given threshold and needs, and an attempt with the given timeout."""

    def make(
        *,
        threshold: Threshold | None = None,
        needs: tuple[str, ...] = (),
        stand_in: tuple[str, ...] = (),
        timeout: float = 5.0,
        **options: Any,
    ) -> Trial:
        claim = make_claim(threshold=threshold, needs=needs)
        bound = Attempt(
            claim=claim.id,
            level=Level.PROCESS,
            timeout=timeout,
            alone=False,
            saboteurs=(),
            needs=(),
            stand_in=stand_in,
            name="test_it",
            sentence="It works.",
        )
        return Trial(claim=claim, attempt=bound, seed=7, tmp=tmp_path, **options)

    return make
