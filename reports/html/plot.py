"""Plots of a figure's samples against its threshold, as inline SVG: the kind follows from how many samples there are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from falsification.kit.figure import percentile, quantity
from reports.html.scale import Axis, fit

WIDTH, HEIGHT = 680.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 18.0, 46.0, 44.0
FEW = 40
"""Up to so many samples are drawn one by one, in the order measured."""
MANY = 250
"""From so many on, the distribution is drawn as a curve; between, as a histogram."""
BINS = 28
CURVE_POINTS = 300
FLOOR = HEIGHT - BOTTOM


def plot(figure: Mapping[str, Any]) -> str:
    """The SVG of *figure*, with a title and a description for those who do not see it."""
    samples = [float(sample) for sample in figure["samples"]]
    if len(samples) == 1:
        kind, drawing = "bar", _bar(figure, samples[0])
    elif len(samples) <= FEW:
        kind, drawing = "dots", _dots(figure, samples)
    elif len(samples) < MANY:
        kind, drawing = "histogram", _histogram(figure, samples)
    else:
        kind, drawing = "cumulative share", _curve(figure, samples)
    told = f"{kind} of {len(samples)} samples, {_described(figure, samples)}"
    height = 96.0 if kind == "bar" else HEIGHT
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(str(figure["name"]))}: {escape(told)}">'
        f"<title>{escape(told)}</title>{drawing}</svg>"
    )


def _described(figure: Mapping[str, Any], samples: Sequence[float]) -> str:
    unit = figure["unit"]
    text = f"p50 {quantity(percentile(samples, 50), unit)}, p99 {quantity(percentile(samples, 99), unit)}, "
    text += f"from {quantity(min(samples), unit)} to {quantity(max(samples), unit)}"
    return (
        text
        if figure["relation"] is None
        else f"{text}; claimed {figure['relation']} {quantity(figure['threshold'], unit)}"
    )


def _bar(figure: Mapping[str, Any], value: float) -> str:
    axis = fit([value], figure["threshold"], LEFT, WIDTH - RIGHT, zero=True)
    zero = axis.place(axis.low)
    parts = [
        f'<rect class="bar" x="{zero:.1f}" y="36" width="{max(axis.place(value) - zero, 2):.1f}" height="20" rx="3"/>',
        _axis_x(axis, figure["unit"], 62.0, label=False),
        _threshold_x(figure, axis, 28.0, 62.0),
    ]
    return "".join(parts)


def _dots(figure: Mapping[str, Any], samples: Sequence[float]) -> str:
    across = Axis(low=0.3, high=len(samples) + 0.7, start=LEFT, end=WIDTH - RIGHT)
    up = fit(samples, figure["threshold"], FLOOR, TOP - 20)
    dots = "".join(
        f'<circle class="dot" cx="{across.place(number):.1f}" cy="{up.place(sample):.1f}" r="4"><title>'
        f"{escape(quantity(sample, figure['unit']))}</title></circle>"
        for number, sample in enumerate(samples, 1)
    )
    marks = "".join(
        f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up.place(value):.1f}" y2="{up.place(value):.1f}"/>'
        f'<text class="mark-label" x="{WIDTH - RIGHT}" y="{up.place(value) - 4:.1f}" text-anchor="end">{name}</text>'
        for name, value in _spread(samples, up)
    )
    return (
        _axis_y(up, figure["unit"])
        + marks
        + _threshold_y(figure, up)
        + dots
        + _label_x("sample, in the order measured")
        + f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{FLOOR}" y2="{FLOOR}"/>'
        + "".join(
            f'<text class="tick" x="{across.place(number):.1f}" y="{FLOOR + 15}" text-anchor="middle">{number:g}</text>'
            for number in dict.fromkeys(
                [1.0, *(tick for tick in across.ticks(6) if tick == int(tick) and tick >= 1)]
            )
        )
    )


def _spread(samples: Sequence[float], up: Axis) -> list[tuple[str, float]]:
    """p50 and p99, without the second where both would be written over each other."""
    middle, high = percentile(samples, 50), percentile(samples, 99)
    marks = [("p50", middle)]
    if abs(up.place(middle) - up.place(high)) > 14:
        marks.append(("p99", high))
    return marks


def _histogram(figure: Mapping[str, Any], samples: Sequence[float]) -> str:
    axis = fit(samples, figure["threshold"], LEFT, WIDTH - RIGHT)
    step = (axis.end - axis.start) / BINS
    counts = [0] * BINS
    for sample in samples:
        counts[min(BINS - 1, int((axis.place(sample) - axis.start) / step))] += 1
    up = Axis(low=0, high=max(counts) * 1.08, start=FLOOR, end=TOP)
    bars = "".join(
        f'<rect class="bar" x="{axis.start + number * step + 0.5:.1f}" y="{up.place(count):.1f}" width="{step - 1:.1f}" '
        f'height="{FLOOR - up.place(count):.1f}"><title>{count}</title></rect>'
        for number, count in enumerate(counts)
        if count
    )
    return (
        _axis_y(up, "samples", whole=True)
        + bars
        + _axis_x(axis, figure["unit"], FLOOR)
        + _marks_x(figure, axis, samples)
    )


def _curve(figure: Mapping[str, Any], samples: Sequence[float]) -> str:
    axis = fit(samples, figure["threshold"], LEFT, WIDTH - RIGHT)
    up = Axis(low=0, high=1, start=FLOOR, end=TOP)
    ordered = sorted(samples)
    stride = max(1, len(ordered) // CURVE_POINTS)
    # The tail is where thresholds are missed: its last samples are all drawn.
    kept = sorted({*range(0, len(ordered), stride), *range(max(0, len(ordered) - 50), len(ordered))})
    path = f"M{axis.place(ordered[0]):.1f},{FLOOR:.1f}"
    for index in kept:
        path += f"H{axis.place(ordered[index]):.1f}V{up.place((index + 1) / len(ordered)):.1f}"
    last = axis.place(ordered[-1])
    area = f"{path}V{FLOOR:.1f}Z"
    shares = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up.place(share):.1f}" y2="{up.place(share):.1f}"/>'
        f'<text class="tick" x="{LEFT - 7}" y="{up.place(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return (
        f'{shares}<path class="area" d="{area}"/><path class="curve" d="{path}"/>'
        f'<circle class="dot" cx="{last:.1f}" cy="{up.place(1):.1f}" r="3.5"/>'
        + _axis_x(axis, figure["unit"], FLOOR)
        + _marks_x(figure, axis, samples)
    )


def _axis_x(axis: Axis, unit: str, y: float, *, label: bool = True) -> str:
    ticks = "".join(
        f'<line class="axis" x1="{axis.place(tick):.1f}" x2="{axis.place(tick):.1f}" y1="{y}" y2="{y + 4}"/>'
        f'<text class="tick" x="{axis.place(tick):.1f}" y="{y + 15}" text-anchor="middle">{escape(_tick(tick))}</text>'
        for tick in axis.ticks(7)
    )
    named = f"{unit}, logarithmic" if axis.log else unit
    text = (
        _label_x(named)
        if label
        else f'<text class="tick" x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(unit)}</text>'
    )
    return f'<line class="axis" x1="{axis.start}" x2="{axis.end}" y1="{y}" y2="{y}"/>{ticks}{text}'


def _axis_y(axis: Axis, unit: str, *, whole: bool = False) -> str:
    ticks = [tick for tick in axis.ticks(4) if not whole or tick == int(tick)]
    lines = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{axis.place(tick):.1f}" y2="{axis.place(tick):.1f}"/>'
        f'<text class="tick" x="{LEFT - 7}" y="{axis.place(tick) + 4:.1f}" text-anchor="end">{escape(_tick(tick))}</text>'
        for tick in ticks
    )
    return f'{lines}<text class="tick unit" x="{LEFT - 7}" y="{TOP - 30}" text-anchor="end">{escape(unit)}</text>'


def _label_x(text: str) -> str:
    return f'<text class="tick unit" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(text)}</text>'


def _marks_x(figure: Mapping[str, Any], axis: Axis, samples: Sequence[float]) -> str:
    parts = []
    for number, (name, rank) in enumerate((("p50", 50), ("p99", 99))):
        x, y = axis.place(percentile(samples, rank)), TOP - 4 - 13 * number
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 2}" y2="{FLOOR}"/>')
        text = f"{name} {quantity(percentile(samples, rank), figure['unit'])}"
        parts.append(_beside(x, y, text, "mark-label"))
    return "".join(parts) + _threshold_x(figure, axis, TOP - 26, FLOOR)


def _threshold_x(figure: Mapping[str, Any], axis: Axis, top: float, floor: float) -> str:
    if figure["relation"] is None:
        return ""
    x = axis.place(figure["threshold"])
    beyond = _beyond(figure["relation"], axis, x)
    shade = (
        f'<rect class="beyond" x="{beyond[0]:.1f}" y="{top + 8:.1f}" width="{beyond[1]:.1f}" height="{floor - top - 8:.1f}"/>'
        if beyond
        else ""
    )
    line = f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>'
    return (
        shade
        + line
        + _beside(
            x,
            top - 4,
            f"claimed {figure['relation']} {quantity(figure['threshold'], figure['unit'])}",
            "threshold-label",
        )
    )


def _beyond(relation: str, axis: Axis, x: float) -> tuple[float, float] | None:
    """Where the claim would be false, as start and width."""
    if relation in {"<", "<="}:
        return x, axis.end - x
    if relation in {">", ">="}:
        return axis.start, x - axis.start
    return None


def _threshold_y(figure: Mapping[str, Any], axis: Axis) -> str:
    if figure["relation"] is None:
        return ""
    y, relation = axis.place(figure["threshold"]), figure["relation"]
    top, floor = axis.end, axis.start
    shade = ""
    if relation in {"<", "<="}:
        shade = f'<rect class="beyond" x="{LEFT}" y="{top:.1f}" width="{WIDTH - RIGHT - LEFT}" height="{max(y - top, 0):.1f}"/>'
    elif relation in {">", ">="}:
        shade = f'<rect class="beyond" x="{LEFT}" y="{y:.1f}" width="{WIDTH - RIGHT - LEFT}" height="{max(floor - y, 0):.1f}"/>'
    text = f"claimed {relation} {quantity(figure['threshold'], figure['unit'])}"
    return (
        f'{shade}<line class="threshold" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="threshold-label" x="{LEFT + 6}" y="{y - 5:.1f}">{escape(text)}</text>'
    )


def _beside(x: float, y: float, text: str, kind: str) -> str:
    """A label beside a vertical line, on the side where there is room."""
    right = x < WIDTH * 0.72
    anchor, place = ("start", x + 5) if right else ("end", x - 5)
    return f'<text class="{kind}" x="{place:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _tick(value: float) -> str:
    return f"{value:.10g}" if abs(value) < 1e6 else f"{value:.3g}"
