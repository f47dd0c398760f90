"""Attempts on the history of samples: it is bounded, as quick when it is large, allocates nothing once it is full, and a query misses nothing."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

from duende.observe import ring
from duende.observe.ring import RingBuffer
from falsification.kit import Trial, attempt

MILLION = 1_000_000
FIVE_MINUTES = 300.0


@attempt("F052", timeout=90, saboteurs=["ring-counts-on"])
def test_the_ring_is_bounded(trial: Trial) -> None:
    """After 1 000 000 pushes it holds exactly its capacity, the newest samples, in the memory it had at first; of several capacities."""
    trial.situation("more was pushed than there was room for", at_least=3)
    for capacity in (1, 8192, 100_000):
        made = RingBuffer(capacity, 2)
        block = len(made._block)
        for number in range(MILLION // (10 if trial.sabotaged else 1)):
            made.push(float(number), 1.0, -float(number))
        trial.reached("more was pushed than there was room for")
        trial.check(len(made) == capacity, f"it holds {len(made)} of {capacity}")
        pushed = number + 1
        trial.check(made.overwritten == pushed - capacity, f"and counts what went: {made.overwritten}")
        trial.check(len(made._block) == block == capacity * 24, f"in {len(made._block)} bytes, as at first")
        expected = [(float(each), 1.0, -float(each)) for each in range(pushed - capacity, pushed)]
        trial.check(list(made) == expected, "these are the newest, in their order")


def spent(capacity: int, operations: int) -> float:
    """CPU seconds of so many operations, pushes and pops mixed, on a ring that is full."""
    made = RingBuffer(capacity)
    for number in range(capacity):
        made.push(float(number), 0.0)
    at = float(capacity)
    began = time.process_time()
    for _ in range(operations // 10):
        for _ in range(8):
            made.push(at, 1.0)
        made.pop()
        made.pop()
        at += 1.0
    return time.process_time() - began


@attempt("F053", timeout=180, saboteurs=["ring-shifts-its-samples"])
def test_an_operation_takes_as_long_as_ever(trial: Trial) -> None:
    """CPU time grows with the number of operations, not with its square, and not with the size of the ring: up to 1 000 000 of both."""
    trial.situation("a million operations were timed")
    rounds = trial.rounds(normal=2, under_saboteur=1)
    least = trial.rounds(normal=250_000, under_saboteur=5_000)
    counts = (least, 2 * least, 4 * least)
    times = {count: min(spent(1000, count) for _ in range(rounds)) for count in counts}
    trial.reached("a million operations were timed", times[counts[-1]] > 0)
    growth = times[counts[-1]] / times[counts[0]]
    trial.figure("four times the operations take", growth, unit="times as long")
    trial.check(
        growth < 8, f"time grows linearly: {growth:.1f} times for four times the operations (16 is quadratic)"
    )
    large = trial.rounds(normal=MILLION, under_saboteur=30_000)
    sizes = {size: min(spent(size, least) for _ in range(rounds)) for size in (1000, large)}
    slower = sizes[large] / sizes[1000]
    trial.figure(f"a ring of {large} takes", slower, unit="times one of 1000")
    trial.check(slower < 3, f"and does not depend on the size: {slower:.2f} times")
    trial.figure("one operation", 1e6 * times[counts[-1]] / counts[-1], unit="us")


@attempt("F054", timeout=90, saboteurs=["ring-keeps-what-was-pushed", "ring-copies-itself"])
def test_nothing_is_allocated_once_it_is_full(trial: Trial) -> None:
    """Tracemalloc finds nothing that ring.py allocated after the first fill and still holds, and no more at any time than the numbers in hand."""
    trial.situation("it was full, and pushed to")
    made = RingBuffer(4096, 3)
    pushes = trial.rounds(normal=50_000, under_saboteur=5_000)
    for number in range(2 * made.capacity):
        made.push(float(number), 1.0, 2.0, 3.0)
    tracemalloc.start(10)
    trial.defer(tracemalloc.stop)
    for number in range(100):  # what the loop itself needs is there after this
        made.push(1e6 + number, 1.0, 2.0, 3.0)
    before = tracemalloc.take_snapshot()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for number in range(pushes):
        made.push(2e6 + number, 1.0, 2.0, 3.0)
    _, peak = tracemalloc.get_traced_memory()
    after = tracemalloc.take_snapshot()
    trial.reached("it was full, and pushed to", made.overwritten > pushes)
    where = [tracemalloc.Filter(True, str(Path(ring.__file__)), all_frames=True)]
    found = after.filter_traces(where).compare_to(before.filter_traces(where), "lineno")
    # The offset, the count and the last time are numbers like any other: one of each is there, before as after.
    more = sum(each.count_diff for each in found)
    trial.log(f"after {pushes} pushes: {found[:3]}")
    trial.judge(max(0, more))
    transient = peak - held
    trial.figure("most at any time beyond that", transient, unit="bytes")
    trial.check(
        transient < 2048,
        f"no copy is made on the way: {transient} bytes at most, of a ring of {len(made._block)}",
    )


@attempt("F055", timeout=60, saboteurs=["range-leaves-out-its-end", "range-leaves-out-its-start"])
def test_a_query_is_complete(trial: Trial) -> None:
    """Of the last five minutes, and of ranges drawn by chance, every sample is returned that a list of all of them has; also over the seam."""
    trial.situation("the range went over the seam of the ring")
    trial.situation("a sample lay exactly on an end of the range", at_least=10)
    chance = random.Random(trial.seed)
    made = RingBuffer(6000, 1)
    everything: list[tuple[float, float]] = []
    at = 0.0
    for number in range(15_000):
        at += chance.choice((0.0, 0.05, 0.1, 0.1, 0.15))
        made.push(at, float(number))
        everything.append((at, float(number)))
        if number % 50 == 0 and number > 6000:
            kept = everything[-made.capacity :]
            ranges = [(at - FIVE_MINUTES, at), (chance.choice(kept)[0], chance.choice(kept)[0])]
            low = kept[0][0]
            ranges.append((low + chance.random() * (at - low), at + 1))
            for start, end in ranges:
                expected = [sample for sample in kept if start <= sample[0] <= end]
                trial.check(
                    made.between(start, end) == expected, f"{start} to {end}: {len(expected)} samples"
                )
                ends = sum(sample[0] in (start, end) for sample in expected)
                trial.reached("a sample lay exactly on an end of the range", bool(ends))
            trial.reached(
                "the range went over the seam of the ring", 0 < made._place(0) < 2 * made.capacity - 2
            )
    trial.figure("samples of the last five minutes", len(made.between(at - FIVE_MINUTES, at)), unit="samples")
