"""The gate never passes when anything a release needs is not survived, strong enough, and with teeth."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falsification.kit.ledger import Tree, blank
from falsification.kit.suite import DEFAULT_SUITE, Suite
from falsification.kit.verdict import Level
from reports import gate, profile, verdicts
from reports.gate import Code, decide

SUITE = Suite.read(DEFAULT_SUITE)
CLAIMS = SUITE.claims()
PROFILE = profile.load("linux-native", CLAIMS)
NEEDED = sorted(PROFILE.needs)
TREE = Tree(commit="a" * 40, dirty=False)
FIGURE = {
    "name": "time (max)",
    "value": 5.0,
    "unit": "ms",
    "relation": "<",
    "threshold": 10.0,
    "samples": [5.0],
}


def survivor(name: str) -> dict[str, Any]:
    """The entry of a claim with nothing to object to."""
    return {
        **blank(CLAIMS[name], ""),
        "level": "native",
        "verdict": "survived",
        "seed": 1,
        "figures": [copy.deepcopy(FIGURE)],
        "saboteurs": [{"name": "lazy", "caught": True, "why": "noticed"}],
    }


def perfect() -> dict[str, Any]:
    """Verdicts with nothing to object to."""
    return {
        "schema": 1,
        "commit": TREE.commit,
        "dirty": TREE.dirty,
        "started": "2025-01-01T00:00:00+00:00",
        "duration_s": 1.0,
        "seed": 1,
        "machine": {"kernel": "6.1"},
        "claims": [survivor(name) for name in CLAIMS],
        "scenarios": [],
    }


Spoiling = Callable[[dict[str, Any]], object]
SPOILED: dict[str, tuple[Code, Spoiling]] = {
    "falsified": (Code.FALSIFIED, lambda entry: entry.update(verdict="falsified", why="x")),
    "flaky": (Code.FALSIFIED, lambda entry: entry.update(flaky=True)),
    "a failing figure": (Code.FALSIFIED, lambda entry: entry["figures"][0].update(value=10.0)),
    "unattempted": (Code.MISSING, lambda entry: entry.update(verdict="unattempted", why="x", level=None)),
    "vacuous": (Code.MISSING, lambda entry: entry.update(verdict="vacuous", why="x")),
    "broken": (Code.MISSING, lambda entry: entry.update(verdict="broken", why="x")),
    "too weak": (Code.MISSING, lambda entry: entry.update(level="emulated")),
    "no saboteur": (Code.TOOTHLESS, lambda entry: entry.update(saboteurs=[])),
    "a missed saboteur": (
        Code.TOOTHLESS,
        lambda entry: entry["saboteurs"].append({"name": "deaf", "caught": False, "why": "x"}),
    ),
}


def test_perfect_verdicts_pass() -> None:
    """The gate can pass at all, and the verdicts used here are well formed."""
    data = perfect()
    verdicts.check(data, CLAIMS)
    assert decide(data, PROFILE, TREE).code is Code.PASS


@given(st.dictionaries(st.sampled_from(sorted(CLAIMS)), st.sampled_from(sorted(SPOILED)), max_size=8))
def test_one_spoiled_claim_is_enough(spoiled: dict[str, str]) -> None:
    """Whatever is wrong with whichever needed claims, the gate fails with the right code and names each of
    them; others do not decide.
    """
    for name in [
        name
        for name, kind in spoiled.items()
        if kind == "too weak" and PROFILE.needs.get(name) is Level.LOGIC
    ]:
        del spoiled[name]  # nothing is weaker than the weakest
    data = perfect()
    for entry in data["claims"]:
        if entry["id"] in spoiled:
            SPOILED[spoiled[entry["id"]]][1](entry)
    decision = decide(data, PROFILE, TREE)
    codes = {SPOILED[kind][0] for name, kind in spoiled.items() if name in PROFILE.needs}
    expected = next(
        (code for code in (Code.FALSIFIED, Code.MISSING, Code.TOOTHLESS) if code in codes), Code.PASS
    )
    assert decision.code is expected
    assert {each.id for each in decision.objections} == {name for name in spoiled if name in PROFILE.needs}


@given(st.sampled_from(NEEDED), st.sampled_from(Level))
def test_evidence_below_the_level_never_passes(name: str, level: Level) -> None:
    """Exactly the evidence that meets the needed level passes."""
    data = perfect()
    next(entry for entry in data["claims"] if entry["id"] == name)["level"] = level.value
    assert (decide(data, PROFILE, TREE).code is Code.PASS) == level.meets(PROFILE.needs[name])


@given(st.sampled_from(["commit", "dirty"]))
def test_other_sources_never_pass(what: str) -> None:
    """Verdicts about another commit or another state of the tree are no verdicts."""
    data = {**perfect(), "commit": "b" * 40} if what == "commit" else {**perfect(), "dirty": True}
    assert decide(data, PROFILE, TREE).code is Code.MALFORMED


def test_an_unknown_commit_never_passes() -> None:
    """Nobody can tell what was tried outside a repository."""
    tree = Tree(commit="unknown", dirty=True)
    assert decide({**perfect(), "commit": "unknown", "dirty": True}, PROFILE, tree).code is Code.MALFORMED


KEYS = ["schema", "commit", "dirty", "started", "duration_s", "seed", "machine", "claims", "scenarios"]
ENTRY_KEYS = [
    "id",
    "title",
    "requires",
    "level",
    "verdict",
    "why",
    "flaky",
    "seed",
    "duration_s",
    "figures",
    "saboteurs",
]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3), st.just([1]), st.just({"a": 1})
)


def _fails(data: dict[str, Any]) -> bool:
    try:
        verdicts.check(data, CLAIMS)
    except verdicts.MalformedError:
        return True
    return decide(data, PROFILE, TREE).code is not Code.PASS


@given(st.sampled_from(KEYS))
def test_a_missing_key_never_passes(key: str) -> None:
    """Every key of the schema is required."""
    data = perfect()
    del data[key]
    assert _fails(data)


@settings(max_examples=25)  # each validates 110 entries against the schema
@given(st.sampled_from(NEEDED), st.sampled_from(ENTRY_KEYS))
def test_a_missing_key_of_a_claim_never_passes(name: str, key: str) -> None:
    """Every key of a claim's entry is required."""
    data = perfect()
    del next(entry for entry in data["claims"] if entry["id"] == name)[key]
    assert _fails(data)


@settings(max_examples=25)  # each validates 110 entries against the schema
@given(
    st.sampled_from(NEEDED),
    st.sampled_from(["id", "title", "requires", "verdict", "figures", "saboteurs"]),
    JUNK,
)
def test_junk_in_a_claim_never_passes(name: str, key: str, junk: object) -> None:
    """A value that is not what stood there fails, and is never an exception."""
    data = perfect()
    entry = next(entry for entry in data["claims"] if entry["id"] == name)
    if junk == entry[key]:
        return
    entry[key] = junk
    assert _fails(data)


@settings(max_examples=25)  # each validates 110 entries against the schema
@given(st.sampled_from(sorted(CLAIMS)), st.booleans())
def test_a_missing_or_double_claim_never_passes(name: str, double: bool) -> None:
    """All 110, each once."""
    data = perfect()
    mine = [entry for entry in data["claims"] if entry["id"] == name]
    data["claims"] = (
        [*data["claims"], *mine] if double else [entry for entry in data["claims"] if entry["id"] != name]
    )
    with pytest.raises(verdicts.MalformedError):
        verdicts.check(data, CLAIMS)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1, "seed": NaN}'])
def test_a_torn_file_is_malformed(tmp_path: Path, text: str) -> None:
    """What cannot be read gives 4, not an exception."""
    path = tmp_path / "verdicts.json"
    path.write_text(text, encoding="utf-8")
    assert gate.main([str(path)]) == Code.MALFORMED


def test_an_absent_file_or_profile_is_malformed(tmp_path: Path) -> None:
    """The message says what to run, or what there is."""
    assert "nox -s falsify" in gate.judge_file(tmp_path / "none.json", "linux-native").objections[0].why
    assert "linux-native" in gate.judge_file(tmp_path / "none.json", "beos").objections[0].why


def test_a_wrong_option_is_not_a_finding() -> None:
    """Argparse would end with 2, which means something else here."""
    with pytest.raises(SystemExit) as ended:
        gate.main(["--bogus"])
    assert ended.value.code == Code.MALFORMED


def test_a_withdrawn_claim_stays_visible() -> None:
    """It does not decide, and is told with its reason and figure."""
    table = {
        "title": "x",
        "needs": {"process": ["F001", "F007"]},
        "withdrawn": {"F001": {"reason": "slow disk", "measured": "112 ms"}},
    }
    data = perfect()
    data["claims"][0].update(verdict="falsified", why="112 ms")
    decision = decide(data, profile.parse("x", table, CLAIMS), TREE)
    assert decision.code is Code.PASS
    assert "F001 withdrawn: slow disk; measured: 112 ms" in gate.explain(decision)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"needs": {}}, "needs nothing"),
        ({"needs": {"process": ["F999"]}}, "F999, which is no claim"),
        ({"needs": {"process": ["F001", "F001"]}}, "F001 twice"),
        ({"needs": {"holy": ["F001"]}}, "'holy'"),
        ({"wishes": []}, "unknown keys wishes"),
        ({"withdrawn": {"F002": {"reason": "a", "measured": "b"}}}, "does not need"),
        ({"withdrawn": {"F001": {"reason": "a"}}}, "measured"),
        ({"withdrawn": {"F001": {"reason": " ", "measured": "b"}}}, "without a reason"),
    ],
)
def test_a_mistaken_profile_is_refused(change: dict[str, Any], message: str) -> None:
    """A profile cannot be weakened by a slip."""
    table = {"title": "x", "needs": {"process": ["F001"]}, **change}
    with pytest.raises(profile.ProfileError, match=message):
        profile.parse("x", table, CLAIMS)


def test_a_profile_cannot_ask_for_less_than_the_claim() -> None:
    """A claim about processes is not satisfied with logic, whatever the profile says."""
    weak = profile.parse("x", {"title": "x", "needs": {"logic": ["F001"]}}, CLAIMS)
    assert weak.needs["F001"] is Level.PROCESS


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("survived", Code.PASS), ("falsified", Code.FALSIFIED), ("vacuous", Code.MISSING), (None, Code.MISSING)],
)
def test_needed_scenarios_decide_too(verdict: str | None, code: Code) -> None:
    """A scenario a profile names must have been run and survived."""
    asked = profile.parse("x", {"title": "x", "needs": {"process": ["F001"]}, "scenarios": ["S001"]}, CLAIMS)
    data = perfect()
    if verdict:
        data["scenarios"] = [{"id": "S001", "adapter": "native", "verdict": verdict, "why": "x"}]
    assert decide(data, asked, TREE).code is code


@pytest.mark.parametrize("name", profile.names())
def test_a_shipped_profile_is_sound(name: str) -> None:
    """It can be read, asks for known claims at no less than they require, that somebody attempts, and passes perfect verdicts."""
    shipped = profile.load(name, CLAIMS)
    assert shipped.name == name
    assert shipped.title
    table = tomllib.loads((profile.FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    asked = {each: Level(level) for level, ids in table["needs"].items() for each in ids}
    assert set(asked) <= set(CLAIMS)
    assert [each for each, level in asked.items() if not level.meets(CLAIMS[each].requires)] == []
    assert [each for each in asked if each in SUITE.unattempted()] == []
    assert decide(perfect(), shipped, TREE).code is Code.PASS


def test_the_profiles_there_are() -> None:
    """One for each kind of machine a release is tried on; the README's section on the gate and CI name all of them."""
    assert profile.names() == [
        "linux-containers",
        "linux-native",
        "linux-pepita",
        "linux-systemd",
        "linux-wos",
        "macos-launchd",
    ]
    root = profile.FOLDER.parents[1]
    for document in ("README.md", "reports/README.md"):
        text = (root / document).read_text(encoding="utf-8")
        assert [name for name in profile.names() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", profile.names())
def test_a_claim_that_fell_fails_its_profile(name: str) -> None:
    """Whichever of its claims it is."""
    shipped = profile.load(name, CLAIMS)
    for needed in shipped.needs:
        data = perfect()
        next(entry for entry in data["claims"] if entry["id"] == needed).update(verdict="falsified", why="x")
        assert decide(data, shipped, TREE).code is Code.FALSIFIED
