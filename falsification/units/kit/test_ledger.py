"""The ledger merges what belongs together and forgets what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from falsification.kit import ledger as ledgers
from falsification.kit.ledger import NOT_TRIED, Ledger, Tree, record_scenarios
from falsification.units.kit.conftest import make_claim

CLAIMS = {name: make_claim(name) for name in ("F001", "F002", "F003")}
RECORD: dict[str, Any] = {
    "level": "process",
    "verdict": "survived",
    "why": "",
    "seed": 5,
    "duration_s": 1.0,
    "figures": [],
}
SCENARIO: dict[str, Any] = {
    "id": "S001",
    "title": "a crash",
    "adapter": "native",
    "level": "process",
    "verdict": "survived",
    "why": "",
    "seed": 1,
    "faults": ["kill"],
    "operations": 12,
    "duration_s": 0.5,
}


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The sources' state as a test sets it, instead of asking git."""
    now: dict[str, Any] = {"commit": "a" * 40, "dirty": False}
    monkeypatch.setattr(Tree, "of", classmethod(lambda _cls, _root: Tree(**now)))
    monkeypatch.setattr(ledgers, "fingerprint", lambda: {"kernel": "6.1"})
    return now


def opened(tmp_path: Path, **options: Any) -> Ledger:
    """The ledger of *tmp_path*."""
    return Ledger.open(tmp_path / "verdicts.json", CLAIMS, root=tmp_path, seed=7, **options)


def test_every_claim_is_there_from_the_start(tmp_path: Path) -> None:
    """Nobody tried anything, and each claim says so."""
    ledger = opened(tmp_path, unattempted={"F003": "no macOS"})
    assert [(each["id"], each["verdict"], each["why"]) for each in ledger.data["claims"]] == [
        ("F001", "unattempted", NOT_TRIED),
        ("F002", "unattempted", NOT_TRIED),
        ("F003", "unattempted", "no macOS"),
    ]


def test_a_second_run_updates_its_claims_only(tmp_path: Path) -> None:
    """Results of the same sources are merged."""
    first = opened(tmp_path)
    first.put("F001", RECORD, saboteurs=["lazy"])
    first.save()
    second = opened(tmp_path)
    second.put("F002", {**RECORD, "verdict": "falsified", "why": "x"}, saboteurs=[])
    second.save()
    assert not second.fresh
    assert [opened(tmp_path).claim(name)["verdict"] for name in CLAIMS] == [
        "survived",
        "falsified",
        "unattempted",
    ]


@pytest.mark.parametrize("change", [{"commit": "b" * 40}, {"dirty": True}])
def test_other_sources_start_anew(tmp_path: Path, state: dict[str, Any], change: dict[str, Any]) -> None:
    """A verdict about another commit, or about a changed tree, says nothing about this one."""
    first = opened(tmp_path)
    first.put("F001", RECORD, saboteurs=[])
    first.save()
    state.update(change)
    second = opened(tmp_path)
    assert (second.fresh, second.claim("F001")["verdict"]) == (True, "unattempted")


def test_another_machine_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of two machines do not belong into one file."""
    opened(tmp_path).save()
    monkeypatch.setattr(ledgers, "fingerprint", lambda: {"kernel": "6.2"})
    assert opened(tmp_path).fresh


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_a_torn_file_starts_anew(tmp_path: Path, text: str) -> None:
    """What cannot be read is replaced, not mended."""
    (tmp_path / "verdicts.json").write_text(text, encoding="utf-8")
    assert opened(tmp_path).fresh


def test_declared_saboteurs_count_as_missed_until_run(tmp_path: Path) -> None:
    """So a run without its saboteurs cannot pass for a run with them."""
    ledger = opened(tmp_path)
    ledger.put("F001", RECORD, saboteurs=["lazy", "deaf"])
    assert [(each["name"], each["caught"]) for each in ledger.claim("F001")["saboteurs"]] == [
        ("lazy", False),
        ("deaf", False),
    ]
    ledger.put_saboteur("F001", "lazy", caught=True, why="61 ms")
    ledger.put("F001", RECORD, saboteurs=["lazy"])
    assert ledger.claim("F001")["saboteurs"] == [{"name": "lazy", "caught": True, "why": "61 ms"}]


def test_a_changed_claim_starts_anew(tmp_path: Path) -> None:
    """A verdict about another title is about another claim."""
    first = opened(tmp_path)
    first.put("F001", RECORD, saboteurs=[])
    first.data["claims"][0]["title"] = "Something else"
    first.save()
    assert opened(tmp_path).claim("F001")["verdict"] == "unattempted"


def test_scenarios_are_merged_by_id_and_adapter(tmp_path: Path) -> None:
    """A second result replaces the first; one of another adapter stands beside it."""
    path = tmp_path / "verdicts.json"
    for result in (
        SCENARIO,
        {**SCENARIO, "verdict": "falsified", "why": "x"},
        {**SCENARIO, "adapter": "fake"},
    ):
        record_scenarios([result], path=path, claims=CLAIMS, root=tmp_path, seed=7)
    found = json.loads(path.read_text(encoding="utf-8"))["scenarios"]
    assert [(each["adapter"], each["verdict"]) for each in found] == [
        ("fake", "survived"),
        ("native", "falsified"),
    ]


@pytest.mark.parametrize("change", [{"mood": "good"}, {"title": None}])
def test_a_misshapen_scenario_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """The keys of the schema, no more and no fewer."""
    result = {**SCENARIO, **change}
    if change.get("title", "") is None:
        del result["title"]
    with pytest.raises(ValueError, match="has the keys"):
        opened(tmp_path).merge_scenarios([result])


def test_the_duration_grows_with_each_run(tmp_path: Path) -> None:
    """A merged file tells what all its runs took."""
    first = opened(tmp_path)
    first.data["duration_s"] = 0
    first.save()
    before = opened(tmp_path)
    before.save()
    assert before.data["duration_s"] >= first.data["duration_s"]
