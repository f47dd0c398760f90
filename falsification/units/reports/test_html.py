"""The written report holds together: self-contained, complete, escaped, and plots for every number of
samples.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from falsification.kit.figure import Figure
from falsification.units.reports.test_gate import CLAIMS, PROFILE, TREE, perfect
from reports.gate import decide
from reports.html.page import page
from reports.html.plot import plot
from reports.html.scale import Axis, fit

VOID = {"meta", "input", "img", "link", "br", "hr"}
FINITE = st.floats(min_value=-1e6, max_value=1e6)


class _Balanced(HTMLParser):
    """Notes every element that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        del attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")


@pytest.fixture
def document(tmp_path: Path) -> str:
    """A report with something of everything, and with text that must be escaped."""
    data = perfect()
    evil = "<script>alert('x')</script> & \"more\""
    for entry, verdict in zip(
        data["claims"], ["survived", "falsified", "vacuous", "broken", "unattempted"], strict=False
    ):
        entry.update(verdict=verdict, why=evil)
    data["claims"][5]["flaky"] = True
    data["claims"][6]["saboteurs"] = []
    data["scenarios"] = [
        {
            "id": "S001",
            "title": evil,
            "adapter": "native",
            "level": "process",
            "verdict": "survived",
            "why": "",
            "seed": 1,
            "faults": ["kill"],
            "operations": 3,
            "duration_s": 1.0,
        }
    ]
    made = tmp_path / "scenarios" / "S001" / "native"
    made.mkdir(parents=True)
    (made / "history.jsonl").write_text("not for people")
    (made / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><rect width="1" height="1"/></svg>')
    (made / "kernel.log").write_text(f"{evil}\n" * 30_000, encoding="utf-8")
    tmp_path = tmp_path / "attempts"
    (tmp_path / "F001" / "files").mkdir(parents=True)
    (tmp_path / "F001" / "log.txt").write_text(
        "".join(f"{number} {evil}\n" for number in range(500)), encoding="utf-8"
    )
    (tmp_path / "F001" / "files" / "a.txt").write_text(evil * 1000, encoding="utf-8")
    (tmp_path / "F001" / "record.json").write_text(
        '{"attachments": [{"name": "a.txt", "mime": "text/plain"}]}', encoding="utf-8"
    )
    return page(data, CLAIMS, [decide(data, PROFILE, TREE)], tmp_path)


def test_it_needs_nothing_else(document: str) -> None:
    """No address of anything outside: no script, style, font or image is fetched."""
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", document) == []
    assert "url(" not in document
    assert "@import" not in document


def test_every_claim_opens(document: str) -> None:
    """Each of the 110 ids is an element that can be linked to and opened without a script."""
    for name in CLAIMS:
        assert document.count(f'id="{name}"') == 1
    assert document.count('<details class="tile') == len(CLAIMS)


def test_text_is_escaped(document: str) -> None:
    """What an attempt said cannot become markup."""
    assert "<script>alert" not in document
    assert "&lt;script&gt;alert" in document


def test_long_evidence_is_cut_with_a_note(document: str) -> None:
    """A log of 500 lines and a long file are shown in part, and say so."""
    assert "340 lines left out" in document
    assert "bytes left out" in document


def test_what_was_made_of_a_history_is_shown(document: str) -> None:
    """Pictures as they are, texts that can be opened; the history itself stays where it is."""
    assert '<figure><svg xmlns="http://www.w3.org/2000/svg"><rect' in document
    assert "<summary>kernel.log</summary><pre>...\n" in document
    assert document.count('id="S001-native"') == 1
    assert "not for people" not in document


def test_elements_are_closed(document: str) -> None:
    """The markup is balanced."""
    parser = _Balanced()
    parser.feed(document)
    assert (parser.wrong, parser.open) == ([], [])


@example([2.3e-307], ">", 27.0)  # so far apart that their quotient is no float
@given(
    st.lists(FINITE, min_size=1, max_size=400), st.sampled_from(["<", "<=", ">", ">=", "==", None]), FINITE
)
def test_every_figure_has_a_plot(samples: list[float], relation: str | None, threshold: float) -> None:
    """Whatever the samples and the bound, the plot is well-formed and nothing in it lies outside the page."""
    bound = None if relation is None else threshold
    figure = Figure.of(
        "time <of> it", samples, unit="ms", relation=relation, threshold=bound, statistic="max"
    )
    root = ET.fromstring(plot(figure.to_json()))  # noqa: S314  (our own text)
    for element in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert -1 <= float(element.get(name, "0")) <= 681
        for name in ("width", "height"):
            assert float(element.get(name, "0")) >= 0


@given(st.lists(FINITE, min_size=1, max_size=50), FINITE)
def test_an_axis_keeps_the_order(samples: list[float], threshold: float) -> None:
    """Larger values never lie before smaller ones, and ticks lie inside."""
    axis = fit(samples, threshold, 0.0, 600.0)
    places = [axis.place(value) for value in sorted(samples)]
    assert places == sorted(places)
    assert all(
        axis.low <= tick <= axis.high or abs(tick - axis.low) < 1e-6 * abs(axis.high - axis.low)
        for tick in axis.ticks()
    )


def test_far_apart_is_logarithmic() -> None:
    """Microseconds against a bound of seconds would be a line at the edge otherwise."""
    assert fit([0.001, 0.002], 5.0, 0, 600).log
    assert not fit([1.0, 2.0], 5.0, 0, 600).log
    assert Axis(low=1, high=100, start=0, end=100, log=True).place(10) == pytest.approx(50)
