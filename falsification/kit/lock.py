"""`python -m falsification.kit.lock`: write the hash of every claim. A person does; no run ever does."""

from __future__ import annotations

from pathlib import Path

from falsification.kit.claim import digest, read_table
from falsification.kit.suite import DEFAULT_SUITE, Suite

HEAD = """\
# SHA-256 of each claim's canonical table. A claim's text and this file change together, by a person,
# with `python -m falsification.kit.lock`; a claim that does not match its hash stops every run.
"""


def write_lock(claims: Path, lock: Path) -> None:
    """Write the hash of every claim in *claims* to *lock*.

    Raises:
        ClaimsError: the claims cannot be read.
    """
    tables = read_table(claims).get("claim", [])
    entries = (f'\n[{table["id"]}]\nsha256 = "{digest(table)}"\n' for table in tables)
    lock.write_text(HEAD + "".join(entries), encoding="utf-8")


if __name__ == "__main__":
    _SUITE = Suite.read(DEFAULT_SUITE)
    write_lock(_SUITE.claims_file, _SUITE.lock_file)
