"""An attempt that does not end by itself, and one that fails the first time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from falsification.kit import Trial, attempt


@attempt("F008", level="logic", timeout=0.2)
async def test_hanging_ends(trial: Trial) -> None:
    """An attempt beyond its time is broken, and cleaned up after."""
    trial.reached("it hung")
    trial.defer(asyncio.sleep, 0)
    await asyncio.Event().wait()


@attempt("F009", level="logic")
def test_luck_holds(trial: Trial) -> None:
    """What fails once and then holds is flaky; the marker is where the end-to-end test says, or nowhere."""
    trial.reached("luck was tried")
    marker = os.environ.get("TOY_MARKER")
    if marker and not Path(marker).exists():
        Path(marker).touch()
        trial.check(False, "the first time goes well too")
