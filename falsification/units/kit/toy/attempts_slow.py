"""An attempt that does not end by itself."""

from __future__ import annotations

import asyncio

from falsification.kit import Trial, attempt


@attempt("F008", level="logic", timeout=0.2)
async def test_hanging_ends(trial: Trial) -> None:
    """An attempt beyond its time is broken, and cleaned up after."""
    trial.reached("it hung")
    trial.defer(asyncio.sleep, 0)
    await asyncio.Event().wait()
