"""F039: a batch of pages on a GPU and on processors."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from duende.state import codec
from duende.state.gpu import GpuCompressor
from falsification.kit import Trial, attempt
from fixtures.pages.corpus import PAGE, corpus

PAGES = 10_000


@attempt(
    "F039",
    alone=True,
    timeout=120,
    needs=["nvcomp"],
    saboteurs=["gpu-compresses-one-by-one", "gpu-mixes-up-the-batch"],
)
async def test_a_gpu_batch_beats_processors(trial: Trial) -> None:
    """10 000 pages of the corpus from memory to memory: copied to the GPU, compressed and copied back, and by LZ4 on all processors, taking turns.

    What the GPU makes is read by LZ4 on the processor.
    """
    import lz4.block

    kinds = corpus(PAGES // 5)
    pages = [page for several in zip(*kinds.values(), strict=True) for page in several][:PAGES]
    compressor = GpuCompressor()
    packed = compressor.batch(pages)
    trial.check(
        all(
            lz4.block.decompress(block, uncompressed_size=PAGE) == page
            for block, page in zip(packed, pages, strict=True)
        ),
        "every page reads back on the processor",
    )
    trial.reached("a batch of 10 000 pages was compressed by the GPU", len(packed) == PAGES)
    trial.figure("ratio on the GPU", PAGE * len(pages) / sum(map(len, packed)), unit=":1")
    cores = os.cpu_count() or 1
    parts = [pages[at::cores] for at in range(cores)]

    def on_processors(part: list[bytes]) -> int:
        return sum(len(codec.lz4_block(page)) for page in part)

    pairs = []
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(trial.rounds(21, 7)):
            began = time.perf_counter()
            compressor.batch(pages)
            between = time.perf_counter()
            trial.check(sum(pool.map(on_processors, parts)) > 0, "processors compress too")
            pairs.append((between - began, time.perf_counter() - between))
    gpu, simd = zip(*pairs, strict=True)
    trial.figure(f"batch of {PAGES} pages, GPU", [each * 1e3 for each in gpu], unit="ms", statistic="p50")
    trial.figure(
        f"batch of {PAGES} pages, {cores} processors",
        [each * 1e3 for each in simd],
        unit="ms",
        statistic="p50",
    )
    ratio = statistics.median(one / other for one, other in pairs)
    trial.figure("GPU time of SIMD time", ratio, unit="x", relation="<", threshold=1.0)
