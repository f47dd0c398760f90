"""`duende render` as a command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from duende.cli import main

ONE = 'name = "web"\nbinary_path = "/bin/sleep"\n'
TWO = '[[daemon]]\nname = "a"\nbinary_path = "/bin/a"\n[[daemon]]\nname = "b"\nbinary_path = "/bin/b"\n'


def written(tmp_path: Path, text: str) -> str:
    """A configuration file."""
    path = tmp_path / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_one_daemon_goes_to_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text on stdout, what is told on stderr, and all of it as JSON."""
    assert main(["render", written(tmp_path, ONE), "--to", "systemd"]) == 0
    shown = capsys.readouterr()
    assert "ExecStart=/bin/sleep\n" in shown.out
    assert "duende-web.service: restart.multiplier" in shown.err
    assert main(["render", written(tmp_path, ONE), "--to", "systemd", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"][0]["filename"] == "duende-web.service"


def test_several_need_a_folder_or_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One error with both ways out; a folder takes them all, scripts executable."""
    path = written(tmp_path, TWO)
    assert main(["render", path, "--to", "install-sh"]) == 1
    assert "--name" in capsys.readouterr().err
    assert main(["render", path, "--to", "install-sh", "--output", str(tmp_path / "out")]) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["install-a.sh", "install-b.sh"]
    assert os.access(tmp_path / "out" / "install-a.sh", os.X_OK)
    capsys.readouterr()
    assert main(["render", path, "--to", "systemd", "--name", "b"]) == 0
    assert "/bin/b" in capsys.readouterr().out


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not there, a broken file, a folder that cannot be."""
    path = written(tmp_path, ONE)
    assert main(["render", path, "--to", "systemd", "--name", "nobody"]) != 0
    assert "nobody" in capsys.readouterr().err
    assert main(["render", path, "--to", "systemd", "--output", path]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert main(["render", written(tmp_path, "name = 1\n"), "--to", "systemd"]) == 1
    assert "name" in capsys.readouterr().err
