"""Attempts on compressed state: how small it is, and how quickly it becomes so, on the published corpus, with every page read back."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from duende.errors import SerializationError
from duende.state import StateStore, codec
from falsification.kit import Trial, attempt
from fixtures.pages.corpus import PAGE, corpus

BATCH = 16
"""Pages that are compressed as one block, where throughput is what counts."""
SPAN_S = 0.15
"""Seconds a kind of page is compressed for, in each round."""


def held(make: Callable[[], object]) -> tuple[int, object]:
    """(bytes that Python has allocated more, what *make* made)."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before, made


@attempt(
    "F035", timeout=60, saboteurs=["values-are-kept-raw", "values-are-kept-twice", "values-lose-their-end"]
)
async def test_compressed_state_is_smaller(trial: Trial) -> None:
    """The corpus in a store and in a dictionary: everything Python allocates for either, and everything in it reads back, also after it was
    opened again.
    """
    pages = {
        f"{kind}/{number}": page for kind, several in corpus().items() for number, page in enumerate(several)
    }
    folder = trial.tmp / "state"
    for kind in ("text", "repeated"):  # the packages are loaded once, whatever the state: not part of it
        codec.unpack(codec.pack(pages[f"{kind}/0"]))
        codec.zstd_block(pages[f"{kind}/0"])
    tracemalloc.start()
    trial.defer(tracemalloc.stop)
    plain, kept = held(lambda: {key: bytes(bytearray(page)) for key, page in pages.items()})
    trial.check(kept == pages, "the plain copy is one")
    compressed, opened = held(lambda: StateStore(folder, sync=False))
    assert isinstance(opened, StateStore)
    trial.defer(opened.close)
    more, _ = held(lambda: opened.write({key: bytes(bytearray(page)) for key, page in pages.items()}))
    compressed += more
    trial.check(all(opened[key] == page for key, page in pages.items()), "every page reads back")
    size, payload = opened.sizes()
    trial.figure("payload of plain size", payload / size * 100, unit="%")
    trial.figure(
        "on disk of plain size", sum(each.stat().st_size for each in folder.iterdir()) / size * 100, unit="%"
    )
    opened.close()
    with StateStore(folder, sync=False) as again:
        trial.check(all(again[key] == page for key, page in pages.items()), "and after it was opened again")
    trial.reached("pages were stored", size == len(pages) * PAGE)
    trial.judge(compressed / plain * 100)


@attempt(
    "F036",
    timeout=60,
    saboteurs=["zero-pages-go-to-lz4", "same-fill-keeps-eight-bytes", "same-fill-looks-at-the-ends"],
)
async def test_same_fill_pages(trial: Trial) -> None:
    """Pages of zeros, and of every other byte, by the payload the store keeps of each; one byte that differs, anywhere, is never lost."""
    with StateStore(trial.tmp / "state", sync=False) as opened:
        ratios = []
        for fill in range(256):
            before = opened.sizes()
            opened.put(str(fill), bytes((fill,)) * PAGE)
            size, payload = (after - was for after, was in zip(opened.sizes(), before, strict=True))
            ratios.append(size / payload)
        trial.reached("pages of zeros were stored")
        trial.judge(ratios)
        for at in {0, 1, 7, 8, PAGE // 2 - 1, PAGE // 2 + 1, PAGE - 2, PAGE - 1, *range(3, PAGE, 97)}:
            page = bytearray(PAGE)
            page[at] = 1
            opened.put("one", bytes(page))
            kept = f"a page with one other byte at {at} is kept as it is"
            with trial.claimed(kept, SerializationError):
                trial.check(opened["one"] == bytes(page), kept)
        trial.check(
            all(opened[str(fill)] == bytes((fill,)) * PAGE for fill in range(256)), "every page reads back"
        )
        on_disk = sum(each.stat().st_size for each in (trial.tmp / "state").iterdir()) / len(opened)
        trial.figure("bookkeeping and payload of a page on disk", on_disk, unit="bytes")
        trial.figure(
            "bookkeeping of a page in memory", float(sys.getsizeof(opened._entries["0"])), unit="bytes"
        )


def blocks() -> dict[str, list[bytes]]:
    """Kind -> its pages in batches, each as one block."""
    return {
        kind: [b"".join(pages[at : at + BATCH]) for at in range(0, len(pages), BATCH)]
        for kind, pages in corpus().items()
    }


def throughput(compress: Callable[[bytes], bytes], several: Sequence[bytes]) -> float:
    """Bytes a second of one thread, in GB/s (10^9 bytes)."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SPAN_S:
        for block in several:
            compress(block)
        done += len(several)
    return done * len(several[0]) / spent / 1e9


def measured(
    trial: Trial, compress: Callable[[bytes], bytes], back: Callable[[bytes, int], bytes], rounds: int
) -> tuple[list[float], dict[str, float]]:
    """(the throughput of the mixture in each round, the ratio of each kind): equal parts of each kind, one core, every page read back."""
    kinds = blocks()
    ratios = {}
    for kind, several in kinds.items():
        packed = [compress(block) for block in several]
        trial.check(
            all(back(small, len(block)) == block for small, block in zip(packed, several, strict=True)),
            f"every {kind} page reads back",
        )
        ratios[kind] = sum(map(len, several)) / sum(map(len, packed))
        trial.figure(f"ratio, {kind}", ratios[kind], unit=":1")
    by_kind = {
        kind: [throughput(compress, several) for _ in range(rounds)] for kind, several in kinds.items()
    }
    for kind, each in by_kind.items():
        trial.figure(f"throughput, {kind}", each, unit="GB/s", statistic="p50")
    mixed = [len(by_kind) / sum(1 / each for each in one) for one in zip(*by_kind.values(), strict=True)]
    cores = os.cpu_count() or 1
    large = [b"".join(several) for several in kinds.values()]
    with ThreadPoolExecutor(cores) as pool:
        began = time.perf_counter()
        total = sum(pool.map(lambda block: len(block) if compress(block) else 0, large * (4 * cores)))
        trial.figure(f"throughput of {cores} cores", total / (time.perf_counter() - began) / 1e9, unit="GB/s")
    return mixed, ratios


@attempt("F037", alone=True, timeout=60, saboteurs=["lz4-takes-its-time", "lz4-forgets-the-end"])
async def test_lz4_throughput(trial: Trial) -> None:
    """What the store calls LZ4 with, on blocks of 16 pages."""
    import lz4.block

    mixed, ratios = measured(
        trial,
        codec.lz4_block,
        lambda small, size: lz4.block.decompress(small, uncompressed_size=size),
        trial.rounds(7, 3),
    )
    trial.reached(
        "pages were compressed", all(ratios[kind] > 1.2 for kind in ("zero", "repeated", "text", "binary"))
    )
    trial.judge(mixed)


@attempt("F038", alone=True, timeout=60, saboteurs=["zstandard-takes-its-time", "zstandard-copies"])
async def test_zstandard_throughput(trial: Trial) -> None:
    """What the store calls Zstandard with at its quickest level, on blocks of 16 pages: real compression, not a copy in a frame."""
    import zstandard

    undo = zstandard.ZstdDecompressor()
    mixed, ratios = measured(
        trial,
        codec.zstd_block,
        lambda small, size: undo.decompress(small, max_output_size=size),
        trial.rounds(7, 3),
    )
    for kind in ("zero", "repeated", "text", "binary"):
        trial.check(ratios[kind] > 1.2, f"{kind} pages are compressed: {ratios[kind]:.2f}:1")
    trial.reached("pages were compressed")
    trial.judge(mixed)


@attempt(
    "F040",
    alone=True,
    timeout=90,
    needs=["lz4-source", "gcc"],
    saboteurs=["vector-build-is-not-optimised"],
)
async def test_simd_beats_scalar(trial: Trial) -> None:
    """A batch of 100 pages of the corpus by two builds of the LZ4 that the store uses, one with vector registers and one without, taking turns.

    The builds differ in nothing else, and are called in the same way; the store's own call is reported beside them.
    """
    from fixtures.pages.build import loaded

    builds = {kind: loaded(kind) for kind in ("simd", "scalar")}
    kinds = corpus(20)
    pages = b"".join(page for several in zip(*kinds.values(), strict=True) for page in several)
    count, room = len(pages) // PAGE, 2 * len(pages)
    # Pages of memory begin where pages begin; so do these.
    places = [mmap.mmap(-1, size) for size in (len(pages), room, PAGE)]
    source, out, scratch = (ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in places)
    places[0][:] = pages
    lengths = (ctypes.c_int * count)()
    outputs = []
    for kind, build in builds.items():
        size = build.batch(source, count, PAGE, out, room, lengths)
        trial.check(
            size > 0 and build.verify(source, count, PAGE, out, lengths, scratch) == 0, f"{kind} reads back"
        )
        outputs.append(bytes(places[1][:size]))
    trial.check(outputs[0] == outputs[1], "both make the same of it")
    trial.reached("a batch of 100 pages was compressed by both", count == 100)

    def spent(kind: str) -> float:
        began = time.perf_counter()
        for _ in range(20):
            builds[kind].batch(source, count, PAGE, out, room, lengths)
        return (time.perf_counter() - began) / 20 * 1e6

    pairs = []
    for number in range(trial.rounds(101, 41)):
        order = ("simd", "scalar") if number % 2 else ("scalar", "simd")
        found = {kind: spent(kind) for kind in order}
        pairs.append((found["simd"], found["scalar"]))
    simd, scalar = zip(*pairs, strict=True)
    trial.figure("batch of 100 pages, SIMD", simd, unit="us", statistic="p50")
    trial.figure("batch of 100 pages, scalar", scalar, unit="us", statistic="p50")
    separate = [pages[at : at + PAGE] for at in range(0, len(pages), PAGE)]
    began = time.perf_counter()
    for page in separate * 20:
        codec.lz4_block(page)
    trial.figure("the same through the store's call", (time.perf_counter() - began) / 20 * 1e6, unit="us")
    # Median of the paired ratios: a moment at which the machine is slow meets both.
    ratio = statistics.median(one / other for one, other in pairs)
    trial.figure("SIMD time of scalar time", ratio, unit="x", relation="<", threshold=1.0)
