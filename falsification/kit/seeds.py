"""Seeds: one for the run, and one for each attempt derived from it, the same on every machine."""

from __future__ import annotations

import hashlib

DEFAULT_SEED = 110
"""The run's seed unless one is given: a run without options is the same run everywhere."""


def derive(run_seed: int, name: str) -> int:
    """The seed of the attempt or scenario *name* in the run of *run_seed*: 32 bits, independent of what else
    runs.
    """
    return int.from_bytes(hashlib.sha256(f"{run_seed}:{name}".encode()).digest()[:4], "big")
