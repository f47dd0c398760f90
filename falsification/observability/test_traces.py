"""Attempts on traces and what is made of them: headers to the letter of the Recommendation, scores of streams, and what a trace waited for."""

from __future__ import annotations

import random
import statistics
import string

from duende.errors import TraceContextError
from duende.observe.anomaly import AnomalyDetector
from duende.observe.critical import Span, critical_path
from duende.observe.tracecontext import TraceContext
from falsification.kit import Trial, attempt

HEX = frozenset("0123456789abcdef")
ID, PARENT = "12345678901234567890123456789012", "1234567890123456"
INVALID = (
    "", "00", f"00-{ID}", f"00-{ID}-{PARENT}", f"00-{ID}-{PARENT}-", f"00-{ID}-{PARENT}-1", f"00-{ID}-{PARENT}-001", f"00-{ID}-{PARENT}-01-",
    f"00-{ID}-{PARENT}-01-what-the-future-will-be-like", f"00-{ID}-{PARENT}-01.", f"ff-{ID}-{PARENT}-01", f".0-{ID}-{PARENT}-01", f"0.-{ID}-{PARENT}-01",
    f"0-{ID}-{PARENT}-01", f"000-{ID}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{ID}-{'0' * 16}-01", f"00-.{ID[1:]}-{PARENT}-01",
    f"00-{ID[:-1]}.-{PARENT}-01", f"00-{ID[:-1]}-{PARENT}-01", f"00-{ID}0-{PARENT}-01", f"00-{ID}-{PARENT[:-1]}-01", f"00-{ID}-{PARENT}0-01",
    f"00-{ID}-{PARENT}-.0", f"00-{ID}-{PARENT}-0.", f"00-{'A' * 32}-{PARENT}-01", f"00-{ID}-{'B' * 16}-01", f"00-{ID}-{PARENT}-0A", f"CC-{ID}-{PARENT}-01",
    f" 00-{ID}-{PARENT}-01", f"00-{ID}-{PARENT}-01\n", f"00-{ID}-{PARENT}-01\t", f"cc-{ID}-{PARENT}-01.what", f"00_{ID}_{PARENT}_01",
    "00-" + 32 * "\u0661" + f"-{PARENT}-01",
)  # fmt: skip
"""As in the Recommendation's own test suite (w3c/trace-context, test/test.py), and digits of another script."""


def parsed(text: str) -> TraceContext | None:
    """The context in a header, None where it is refused; any other error is the attempt's."""
    try:
        return TraceContext.parse(text)
    except TraceContextError:
        return None


def word(chance: random.Random, length: int) -> str:
    """Lower-case hexadecimal digits, not all zero."""
    while not set(found := "".join(chance.choices("0123456789abcdef", k=length))) - {"0"}:
        pass
    return found


@attempt(
    "F050", timeout=30, saboteurs=["ids-are-swapped", "version-ff-is-taken", "a-later-version-is-refused"]
)
def test_a_traceparent_is_parsed(trial: Trial) -> None:
    """Trace and span of valid headers are those of the header, of this version and of later ones; every invalid one is refused with one error."""
    trial.situation("a valid header was parsed", at_least=2000)
    trial.situation("an invalid header was refused", at_least=len(INVALID))
    chance = random.Random(trial.seed)
    for number in range(2000):
        trace_id, span_id, flags = word(chance, 32), word(chance, 16), word(chance, 2)
        version = "00" if number % 2 else chance.choice(("01", "cc", "fe"))
        more = "" if version == "00" else chance.choice(("", "-", "-what-the-future-will-be-like"))
        text = f"{version}-{trace_id}-{span_id}-{flags}{more}"
        found = parsed(text)
        trial.check(found is not None, f"{text} is valid")
        if found is None:
            continue
        trial.check((found.trace_id, found.span_id) == (trace_id, span_id), f"{text} gives {found}")
        trial.check(found.sampled == bool(int(flags, 16) & 1), f"sampled as {flags} says")
        trial.reached("a valid header was parsed")
    for text in INVALID:
        found = parsed(text)
        trial.check(found is None, f"{text!r} is invalid, and gave {found}")
        trial.reached("an invalid header was refused")
    fresh = TraceContext.continued({"traceparent": INVALID[0]})
    trial.check(fresh.trace_id != ID, "and a service that gets one begins a new trace")


@attempt("F051", timeout=30, saboteurs=["unknown-flags-are-sent", "child-begins-a-trace"])
def test_a_traceparent_is_generated(trial: Trial) -> None:
    """What is sent obeys the grammar, character by character; spans below keep the trace, and ids are never used twice."""
    trial.situation("a header was generated", at_least=4000)
    chance = random.Random(trial.seed)
    seen: set[str] = set()
    for number in range(2000):
        if number % 2:
            made = TraceContext.new(sampled=bool(number % 4 == 1))
        else:
            made = TraceContext.parse(f"00-{word(chance, 32)}-{word(chance, 16)}-{word(chance, 2)}")
        child = made.child()
        trial.check(child.trace_id == made.trace_id, "a span below is of the same trace")
        trial.check(child.span_id not in seen and child.span_id != made.span_id, "with an id of its own")
        seen.add(child.span_id)
        for context in (made, child):
            text = context.traceparent
            parts = text.split("-")
            shape = [len(part) for part in parts] == [2, 32, 16, 2] and set("".join(parts)) <= HEX
            trial.check(shape and text.isascii(), f"it obeys the grammar: {text}")
            trial.check(
                parts[0] == "00" and parts[3] in ("00", "01"),
                f"version 00, and no flag that it does not know: {text}",
            )
            trial.check(bool(set(parts[1]) - {"0"}) and bool(set(parts[2]) - {"0"}), f"no id is zero: {text}")
            trial.check(TraceContext.parse(text).traceparent == text, f"and reads back: {text}")
            trial.reached("a header was generated")
    state = (
        TraceContext.new()
        .with_state("congo", "t61rcWkgMzE")
        .with_state("rojo", "00f067aa0ba902b7")
        .with_state("congo", "new")
    )
    trial.check(
        state.tracestate == "congo=new,rojo=00f067aa0ba902b7",
        f"a changed member comes first: {state.tracestate}",
    )
    for number in range(40):
        state = state.with_state("".join(random.Random(number).choices(string.ascii_lowercase, k=12)), "x")
    trial.check(len(state.state) == 32, f"and never more than 32 go: {len(state.state)}")


@attempt("F044", timeout=30, saboteurs=["threshold-is-fixed", "number-hides-itself"])
def test_the_threshold_is_a_knob(trial: Trial) -> None:
    """On the same stream 2 sigma give more alerts than 3, and 3 than 4; a spike is scored against the numbers before it alone."""
    trial.situation("a stream had alerts at 3 sigma", at_least=5)
    alerts: dict[float, int] = {}
    for number in range(10):
        chance = random.Random(trial.seed + number)
        stream = [chance.gauss(100, 10) for _ in range(3000)]
        for threshold in (2.0, 3.0, 4.0):
            detector = AnomalyDetector(threshold=threshold)
            alerts[threshold] = sum(detector.observe(value) is not None for value in stream)
        trial.reached("a stream had alerts at 3 sigma", alerts[3.0] > 0)
        trial.check(alerts[2.0] > alerts[3.0] >= alerts[4.0], f"fewer sigma, more alerts: {alerts}")
    trial.figure("alerts at 2 sigma", alerts[2.0], unit="of 3000")
    trial.figure("alerts at 3 sigma", alerts[3.0], unit="of 3000")
    default = AnomalyDetector()
    trial.check(
        (default.window, default.threshold) == (100, 3.0),
        f"by default 100 and 3: {default.window}, {default.threshold}",
    )
    before = [float(each % 7) for each in range(250)]
    for value in before:
        default.observe(value)
    window = before[-100:]
    expected = (50.0 - statistics.fmean(window)) / statistics.pstdev(window)
    found = default.observe(50.0)
    trial.check(
        found is not None and abs(found.score - expected) < 1e-6,
        f"the score is that of the window before it: {expected}, {found}",
    )


def workload(chance: random.Random) -> tuple[list[Span], str]:
    """A trace whose bottleneck is known: stages one after the other, in each some spans side by side, and somewhere deep in the longest of one stage what
    takes most of all; beside it spans that are longer in sum, and hold up nobody.
    """
    spans: list[Span] = []
    at, guilty = 0.0, chance.randrange(3)
    for stage in range(3):
        lengths = [chance.uniform(0.1, 0.9) for _ in range(5)]
        if stage == guilty:
            lengths[chance.randrange(5)] = 20.0
        for number, length in enumerate(lengths):
            span_id = f"s{stage}{number}"
            spans.append(
                Span(
                    span_id=span_id,
                    name=f"work {stage} {number}",
                    parent_id="root",
                    start=at,
                    end=at + length,
                )
            )
            if length == 20.0:
                spans.append(
                    Span(span_id="query", name="query", parent_id=span_id, start=at + 1, end=at + 19)
                )
                spans.append(
                    Span(span_id="lock", name="lock", parent_id="query", start=at + 2, end=at + 18.5)
                )
                # More in sum than anything else, and nobody waits for them.
                spans += [
                    Span(
                        span_id=f"d{decoy}",
                        name="log",
                        parent_id=span_id,
                        start=at + 1.5,
                        end=at + 18.9 - decoy / 10,
                    )
                    for decoy in range(3)
                ]
        at += max(lengths)
    root = Span(span_id="root", name="request", start=0.0, end=at + 0.2)
    chance.shuffle(spans)
    return [*spans, root], "lock"


@attempt("F045", timeout=30, saboteurs=["path-goes-by-the-first-child", "path-stays-at-the-root"])
def test_the_bottleneck_is_on_the_critical_path(trial: Trial) -> None:
    """Of workloads with a known bottleneck, deep and beside decoys, it is on the path and named; the path is exactly as long as the request."""
    trial.situation("a workload with a known bottleneck was analysed", at_least=100)
    share = 0.0
    for number in range(200):
        spans, guilty = workload(random.Random(trial.seed + number))
        path = critical_path(spans)
        names = [segment.name for segment in path.segments]
        trial.check(guilty in names, f"the bottleneck is on the path: {names}")
        trial.check(path.bottleneck == guilty, f"and named: {path.shares}")
        trial.check("log" not in names, f"what nobody waited for is not: {names}")
        whole = max(span.end for span in spans)
        trial.check(abs(path.total - whole) < 1e-9, f"the path is the whole request: {path.total} of {whole}")
        joined = all(one.end == two.start for one, two in zip(path.segments, path.segments[1:], strict=False))
        trial.check(joined, "without a gap")
        trial.reached("a workload with a known bottleneck was analysed")
        share = 100 * path.shares[guilty] / path.total
    trial.figure("the bottleneck's share of the last request", share, unit="%")
