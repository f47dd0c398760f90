"""The quality gate reads code: what it finds, what it does not, and the laws of its score."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config.model import DaemonConfig, QualityConfig
from duende.errors import ConfigError
from duende.policy.quality import Measures, QualityGate, measure, score_of, sources_of
from duende.policy.quality.measures import Finding

CLEAN = '''"""A daemon."""
from duende import Daemon, DaemonContext, ExitReason


class Web(Daemon):
    """Counts."""

    name = "web"

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Run."""
        while not ctx.should_shutdown():
            await ctx.sleep(1.0)
        return ExitReason.graceful()
'''


def daemon(folder: Path, text: str = CLEAN, **beside: str) -> DaemonConfig:
    """A daemon of this code, with other files beside it."""
    (folder / "web.py").write_text(text, encoding="utf-8")
    for name, content in beside.items():
        path = folder / f"{name.replace('_in_', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return DaemonConfig(name="web", daemon=f"{folder / 'web.py'}:Web")


def keys(folder: Path, text: str, **beside: str) -> set[str]:
    """The thresholds that are passed."""
    return {each.key for each in QualityGate().analyze(daemon(folder, text, **beside)).violations}


def branches(count: int) -> str:
    """A function of complexity *count* + 1, that is used."""
    body = "".join(f"    if x == {number}:\n        return {number + 1}\n" for number in range(count))
    return f"\n\ndef choose(x: int) -> int:\n{body}    return 0\n\n\nprint(choose(1))\n"


def test_clean_code_passes(tmp_path: Path) -> None:
    """Nothing is found, and what duende calls is not dead."""
    report = QualityGate().analyze(daemon(tmp_path))
    assert (report.passed, report.score, report.measures.dead) == (True, 100.0, ())


@pytest.mark.parametrize(("count", "found"), [(19, False), (20, True)])
def test_complexity_is_strict(tmp_path: Path, count: int, found: bool) -> None:
    """20 is allowed, 21 is not, and the place is named."""
    report = QualityGate().analyze(daemon(tmp_path, CLEAN + branches(count)))
    complex_ones = [each for each in report.violations if each.key == "max_complexity"]
    assert bool(complex_ones) == found
    if found:
        assert (complex_ones[0].actual, complex_ones[0].threshold) == (21, 20)
        assert complex_ones[0].location.endswith("web.py:17")


def test_debts_are_in_comments_only(tmp_path: Path) -> None:
    """A string, a name or a word in lower case is no debt."""
    harmless = 'TODO_LIST = "TODO: FIXME"\nprint(TODO_LIST, """\n# HACK\n""")  # what is to do: todo\n'
    assert keys(tmp_path, CLEAN + harmless) == set()
    assert keys(tmp_path, CLEAN + "\n# FIXME: leaks\n") == {"satd_tolerance"}
    two = measure([str(tmp_path / "web.py")], used=["Web"]).satd
    assert [(each.what, each.line) for each in two] == [("FIXME: leaks", 16)]


def test_dead_code(tmp_path: Path) -> None:
    """What nobody calls, and what cannot be reached; an unused class is not dead twice."""
    dead = "\n\nclass Old:\n    def a(self) -> int:\n        return 1\n\n    def b(self) -> int:\n        return 2\n"
    assert "dead_code_max_percent" in keys(tmp_path, CLEAN + dead)
    found = measure([str(tmp_path / "web.py")], used=["Web"]).dead
    assert sum(each.value for each in found) == 6
    unreachable = CLEAN.replace(
        "        return ExitReason.graceful()",
        "        return ExitReason.graceful()\n        print(1)\n        print(2)",
    )
    assert measure(sources_of(daemon(tmp_path, unreachable)), used=["Web"]).dead


def test_what_lies_beside_is_read_too(tmp_path: Path) -> None:
    """Files and packages that are imported from the same folder; not what nobody imports, nor the library."""
    text = "import helper\nfrom parts import one\n" + CLEAN + "\nprint(helper.x, one.y)\n"
    beside = {
        "helper": "x = 1  # TODO\n",
        "parts_in___init__": "",
        "parts_in_one": "y = 2\n",
        "alien": "# TODO\n",
    }
    config = daemon(tmp_path, text, **beside)
    names = [str(Path(path).relative_to(tmp_path)) for path in sources_of(config)]
    assert names[0] == "web.py"
    assert set(names) == {"web.py", "helper.py", "parts/__init__.py", "parts/one.py"}
    assert [each.path for each in measure(sources_of(config)).satd] == [str(tmp_path / "helper.py")]
    assert sources_of(DaemonConfig(name="c", daemon="duende.examples.daemon:CounterDaemon"))[0].endswith(
        "daemon.py"
    )


def test_what_cannot_be_judged(tmp_path: Path) -> None:
    """One error each: a program in another language, no file, no module, no Python."""
    with pytest.raises(ConfigError, match="no Python file"):
        sources_of(DaemonConfig(name="a", binary_path="/bin/true"))
    with pytest.raises(ConfigError, match="no module"):
        sources_of(DaemonConfig(name="a", daemon="nothing_of_that_name:C"))
    with pytest.raises(ConfigError, match="cannot find"):
        sources_of(DaemonConfig(name="a", daemon="nothing.of_that_name:C"))
    with pytest.raises(ConfigError, match="cannot read"):
        sources_of(DaemonConfig(name="a", daemon=f"{tmp_path}/no.py:C"))
    with pytest.raises(ConfigError, match="no Python"):
        sources_of(daemon(tmp_path, "def ("))
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env python3\nprint(1)\n", encoding="utf-8")
    assert sources_of(DaemonConfig(name="a", binary_path=str(script))) == [str(script)]


POINTS = st.tuples(st.floats(0, 200), st.integers(0, 50), st.floats(0, 100), st.floats(0, 100))


@given(POINTS, st.tuples(st.floats(0, 50), st.integers(0, 10), st.floats(0, 50), st.floats(0, 50)))
def test_worse_code_never_scores_better(
    point: tuple[float, int, float, float], worse: tuple[float, int, float, float]
) -> None:
    """The score is between 0 and 100 and falls with every measure that gets worse."""
    before = score_of(*point)
    after = score_of(
        point[0] + worse[0], point[1] + worse[1], point[2] + worse[2], max(0.0, point[3] - worse[3])
    )
    assert 0 <= after <= before <= 100


@given(POINTS)
def test_exactly_at_a_threshold_is_allowed(point: tuple[float, int, float, float]) -> None:
    """Thresholds are strict, whatever they are."""
    complexity, debts, dead, maintainability = point
    found = Measures(
        files=("a",),
        lines=1000,
        complexity=(Finding("a", 1, "f", float(int(complexity))),),
        satd=tuple(Finding("a", 1, "x") for _ in range(debts)),
        dead=(Finding("a", 1, "g", dead),),
        maintainability=maintainability,
    )
    limits = QualityConfig(
        max_complexity=int(complexity), satd_tolerance=debts, dead_code_max_percent=found.dead_percent, min_quality_score=found.score
    )  # fmt: skip
    assert QualityGate(limits).judge("web", found).passed
