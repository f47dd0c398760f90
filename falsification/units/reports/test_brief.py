"""The last lines of CI: how many survived, and each that did not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.brief import brief, main


def test_what_did_not_survive_is_named() -> None:
    """Broken first and in capitals, with the adapter of a scenario, each in one line of a hundred columns."""
    data = {
        "claims": [
            {"id": "F001", "verdict": "survived", "why": ""},
            {"id": "F002", "verdict": "unattempted", "why": "no macOS"},
        ],
        "scenarios": [
            {"id": "S001", "adapter": "native", "verdict": "falsified", "why": "lost\na write " + "x " * 90},
            {"id": "S002", "adapter": "docker", "verdict": "broken", "why": "no workload"},
        ],
    }
    lines = brief(data)
    assert lines[0] == "claims: 1 survived, 1 unattempted"
    assert lines[1] == "scenarios: 1 broken, 1 falsified"
    assert lines[2] == "  BROKEN S002 on docker: no workload"
    assert lines[3].startswith("  falsified S001 on native: lost a write")
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("text", ["", "[]", '{"claims": [1]}'])
def test_what_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Never an exception: CI goes on to say the rest."""
    file = tmp_path / "v.json"
    file.write_text(text, encoding="utf-8")
    assert main([str(file)]) == 0
    assert "no verdicts that can be read" in capsys.readouterr().out
    assert main([str(tmp_path / "none")]) == 0


def test_no_scenario_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is said too."""
    file = tmp_path / "v.json"
    file.write_text(json.dumps({"claims": [], "scenarios": []}), encoding="utf-8")
    main([str(file)])
    assert capsys.readouterr().out == "claims: none was run\nscenarios: none was run\n"
