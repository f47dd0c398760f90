"""`duende gate` and `duende deploy`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from duende.cli import main

CLEAN = (
    '"""D."""\nfrom duende import Daemon\n\n\nclass Web(Daemon):\n    """W."""\n\n    async def run(self, ctx: object) -> None:\n'
    '        """Run."""\n        del ctx\n'
)


def fleet(folder: Path, code: str = CLEAN, extra: str = "") -> str:
    """A file of one daemon."""
    (folder / "web.py").write_text(code, encoding="utf-8")
    path = folder / "web.toml"
    path.write_text(
        f'name = "web"\ndaemon = "web.py:Web"\n{extra}[quality]\nenabled = true\n', encoding="utf-8"
    )
    return str(path)


def test_gate_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for all, the violations with their places, and the exit code."""
    assert main(["gate", fleet(tmp_path)]) == 0
    assert "passed" in capsys.readouterr().out
    path = fleet(tmp_path, CLEAN + "# TODO: more\n")
    assert main(["gate", path]) == 1
    shown = capsys.readouterr()
    assert "stopped" in shown.out
    assert "web.py:11: 1 admitted debts, 0 are tolerated, the first: TODO: more" in shown.err
    assert main(["gate", path, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["result"]["violations"][0]["check"] == "quality of web"


def test_deploy_stops_before_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No manager is started, and the evidence is kept."""
    folders = ["--state-dir", str(tmp_path / "s"), "--runtime-dir", str(tmp_path / "r")]
    assert main(["deploy", fleet(tmp_path, CLEAN + "# TODO: more\n"), *folders]) == 1
    assert "was deployed: stopped by quality of web" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    (evidence,) = (tmp_path / "s" / "gates").iterdir()
    kept = json.loads(evidence.read_text(encoding="utf-8"))
    assert (kept["passed"], kept["violations"][0]["kind"]) == (False, "precondition")
    assert kept["reports"][0]["measures"]["satd"][0]["line"] == 11


def test_a_broken_file_stops_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in a configuration is found before code is looked at."""
    folders = ["--state-dir", str(tmp_path / "s"), "--runtime-dir", str(tmp_path / "r")]
    assert main(["up", fleet(tmp_path, extra="args = 3\n"), *folders]) == 1
    assert "configuration of web" in capsys.readouterr().err
    assert main(["gate", fleet(tmp_path, "def (")]) == 1
    assert "no Python" in capsys.readouterr().err
