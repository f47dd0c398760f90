"""Claims cannot change unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from falsification.kit.claim import ClaimsError, load, write_lock

TEXT = """
[[claim]]
id = "F001"
category = "A"
title = "It is quick"
attempt = "time it"
criterion = "under 100 ms"
needs = ["linux"]
level = "process"
"""
BOUND = 'F001 = { figure = "time", statistic = "max", relation = "<", value = 100, unit = "ms" }'


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Claims, their lock and their thresholds, all in order."""
    claims, lock, thresholds = (
        tmp_path / "claims.toml",
        tmp_path / "claims.lock.toml",
        tmp_path / "thresholds.toml",
    )
    claims.write_text(TEXT, encoding="utf-8")
    write_lock(claims, lock)
    thresholds.write_text(BOUND, encoding="utf-8")
    return claims, lock, thresholds


def test_claims_in_order_are_loaded(files: tuple[Path, Path, Path]) -> None:
    """The claim comes with its threshold as data."""
    claim = load(*files)["F001"]
    assert (claim.title, claim.requires.value, str(claim.threshold)) == (
        "It is quick",
        "process",
        "time (max) < 100 ms",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("100 ms", "101 ms"), ("It is quick", "It is quick."), ('["linux"]', "[]"), ("process", "logic")],
)
def test_a_changed_word_is_noticed(files: tuple[Path, Path, Path], old: str, new: str) -> None:
    """A claim whose text changed without its hash is refused, whichever word it was."""
    files[0].write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ClaimsError, match="F001: its text .* does not match its hash"):
        load(*files)


def test_a_comment_is_no_change(files: tuple[Path, Path, Path]) -> None:
    """The hash is over the data, not the bytes."""
    files[0].write_text(f"# a comment\n{TEXT}", encoding="utf-8")
    assert list(load(*files)) == ["F001"]


@pytest.mark.parametrize(
    ("which", "text", "message"),
    [
        (0, TEXT + TEXT, "stands twice"),
        (0, "", "has no claims"),
        (0, "[[", "cannot read"),
        (1, "", "does not match its hash"),
        (2, BOUND.replace("F001", "F999"), "F999 in thresholds.toml is no claim"),
        (2, BOUND.replace('"max"', '"vibe"'), "unknown relation or statistic"),
        (2, 'F001 = { figure = "time" }', "cannot be read"),
    ],
)
def test_whatever_is_wrong_is_named(
    files: tuple[Path, Path, Path], which: int, text: str, message: str
) -> None:
    """Double and missing claims, hashes and thresholds are refused with a message of their own."""
    files[which].write_text(text, encoding="utf-8")
    with pytest.raises(ClaimsError, match=message):
        load(*files)
