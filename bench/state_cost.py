"""What keeping state costs: `python -m bench.state_cost [ROUNDS]`.

Small writes to the store: one by one with fdatasync(2), gathered from many tasks, and without synchronisation, beside the same in SQLite (WAL,
synchronous=FULL and OFF) and a bare write with fdatasync; and what compresses pages of the published corpus, per kind. A table, and
bench/out/state_cost.json.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.machine import told
from duende.state import StateStore, codec, pack
from fixtures.pages.corpus import PAGE, corpus

ALONE, GATHERED = 300, 20_000
VALUE = b"v" * 100
AIMS = {"store, gathered commits": ">= 50000/s"}


def rate(count: int, turn: Callable[[], object]) -> float:
    """How many a second."""
    began = time.perf_counter()
    turn()
    return count / (time.perf_counter() - began)


def gathered(store: StateStore, count: int) -> None:
    """That many commits from as many tasks, a thousand at a time."""

    async def work() -> None:
        for at in range(0, count, 1000):
            await asyncio.gather(*(store.commit({f"k{number}": VALUE}) for number in range(at, at + 1000)))

    asyncio.run(work())


def bare(path: Path, count: int) -> None:
    """The system calls alone."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(count):
        os.write(fd, VALUE)
        os.fdatasync(fd)
    os.close(fd)


def sqlite(path: Path, count: int, synchronous: str, at_once: int) -> None:
    """The same by SQLite, *at_once* in a transaction."""
    with sqlite3.connect(path, isolation_level=None) as book:
        book.execute("PRAGMA journal_mode=WAL")
        book.execute(f"PRAGMA synchronous={synchronous}")
        book.execute("CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB)")
        for at in range(0, count, at_once):
            book.execute("BEGIN")
            for number in range(at, min(at + at_once, count)):
                book.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (f"k{number}", VALUE))
            book.execute("COMMIT")
    book.close()


def writes(folder: Path, note: Callable[[str, str, float], None]) -> None:
    """One round of all of them, in turn."""
    with StateStore(folder / "synced", snapshot_after=1 << 40) as store:
        note(
            "store, one by one, fdatasync",
            "/s",
            rate(ALONE, lambda: [store.put(f"k{n}", VALUE) for n in range(ALONE)]),
        )
        note("store, gathered commits", "/s", rate(GATHERED, lambda: gathered(store, GATHERED)))
    with StateStore(folder / "loose", sync=False, snapshot_after=1 << 40) as store:
        note(
            "store, not synchronised",
            "/s",
            rate(GATHERED, lambda: [store.put(f"k{n}", VALUE) for n in range(GATHERED)]),
        )
    note("write and fdatasync alone", "/s", rate(ALONE, lambda: bare(folder / "bare", ALONE)))
    note("SQLite, one by one, FULL", "/s", rate(ALONE, lambda: sqlite(folder / "one.db", ALONE, "FULL", 1)))
    note(
        "SQLite, 1000 a transaction, FULL",
        "/s",
        rate(GATHERED, lambda: sqlite(folder / "many.db", GATHERED, "FULL", 1000)),
    )


def compressing(note: Callable[[str, str, float], None]) -> None:
    """One round over the corpus."""
    for kind, pages in corpus().items():
        size = len(pages) * PAGE / 1e9
        block = [b"".join(pages[at : at + 16]) for at in range(0, len(pages), 16)]
        for what, call, units in (
            ("store's choice, a page", pack, pages),
            ("LZ4, 16 pages", codec.lz4_block, block),
            ("Zstandard 1, 16 pages", codec.zstd_block, block),
        ):
            note(f"{kind}: {what}", "GB/s", rate(1, partial(through, call, units)) * size)


def through(call: Callable[[bytes], object], units: list[bytes]) -> None:
    """All of them, one after the other."""
    for each in units:
        call(each)


def main(rounds: int) -> int:
    """Measure, print the table, write the JSON."""
    found: dict[str, tuple[str, list[float]]] = {}

    def note(what: str, unit: str, value: float) -> None:
        found.setdefault(what, (unit, []))[1].append(value)

    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            writes(Path(folder), note)
        compressing(note)
    told("state_cost", found, AIMS, rounds=rounds, worst=min)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
