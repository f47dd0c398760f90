"""Defects of the toy product: one that is caught in this process and its children, one by patch, one missed,
one that fits nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import toyproduct

from falsification.kit import mutant, patch

mutant(
    "toy-adds-wrongly",
    breaks="sums are one too large",
    file="toyproduct/__init__.py",
    old="left + right",
    new="left + right + 1",
)
mutant(
    "toy-is-rude",
    breaks="the greeting is rude",
    file="toyproduct/__init__.py",
    old='"hello"',
    new='"go away"',
)
mutant(
    "toy-fits-nowhere",
    breaks="nothing: its text is not there",
    file="toyproduct/__init__.py",
    old="left * right",
    new="left",
)
mutant(
    "toy-crashes",
    breaks="adding raises",
    file="toyproduct/__init__.py",
    old="return left + right",
    new="raise OSError(left, right)",
)


@patch("toy-patched", breaks="in this process sums are negative")
@contextmanager
def negative() -> Iterator[None]:
    """Replace `add`."""
    original = toyproduct.add
    toyproduct.add = lambda left, right: -original(left, right)
    try:
        yield
    finally:
        toyproduct.add = original
