"""A mutant fits in exactly one place, or is broken; it never half-fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falsification.kit.plan import Defect
from falsification.kit.sabotage import judge
from falsification.kit.saboteur import Edit, Saboteur, SaboteurError, plant

CODE = "def stop():\n    kill(9)\n    wait()\n"


@given(st.text("ab\n", max_size=30), st.text("ab", min_size=1, max_size=3))
def test_an_edit_fits_once_or_not_at_all(text: str, old: str) -> None:
    """Whatever the text, the edit applies exactly when the old text is there once."""
    edit = Edit(file="x.txt", old=old, new="C")
    if text.count(old) == 1:
        assert edit.apply(text) == text.replace(old, "C")
    else:
        with pytest.raises(SaboteurError, match="not once"):
            edit.apply(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("kill(9)", "kill(9)", "changes nothing"), ("kill(9)", "kill(", "is no Python")],
)
def test_a_useless_edit_is_broken(old: str, new: str, message: str) -> None:
    """A change that changes nothing, or makes no Python, is no defect."""
    with pytest.raises(SaboteurError, match=message):
        Edit(file="x.py", old=old, new=new).apply(CODE)


def test_planting_leaves_the_original_alone(tmp_path: Path) -> None:
    """The copy has the defect, and no compiled file of the original; everything else is as it was."""
    root = tmp_path / "root"
    (root / "product" / "__pycache__").mkdir(parents=True)
    (root / "product" / "a.py").write_text(CODE, encoding="utf-8")
    (root / "product" / "b.py").write_text("b = 1\n", encoding="utf-8")
    for name in ("a", "b"):
        (root / "product" / "__pycache__" / f"{name}.cpython-311.pyc").write_bytes(b"")
    defect = Saboteur(name="lazy", breaks="x", edits=(Edit(file="product/a.py", old="kill(9)", new="pass"),))
    copy = plant(defect, root, ["product", "absent"], tmp_path / "copy")
    assert (copy / "product" / "a.py").read_text(encoding="utf-8") == CODE.replace("kill(9)", "pass")
    assert (root / "product" / "a.py").read_text(encoding="utf-8") == CODE
    assert [path.name for path in (copy / "product" / "__pycache__").iterdir()] == ["b.cpython-311.pyc"]


def test_planting_in_a_missing_file_is_broken(tmp_path: Path) -> None:
    """The message names the file."""
    defect = Saboteur(name="lazy", breaks="x", edits=(Edit(file="gone.py", old="a", new="b"),))
    with pytest.raises(SaboteurError, match=r"no gone\.py to change"):
        plant(defect, tmp_path, [], tmp_path / "copy")


QUIET = Defect(breaks="nothing is killed", mutant=True, vacuous_is_caught="")
LOUD = Defect(
    breaks="nothing starts", mutant=True, vacuous_is_caught="without a daemon there is nothing to kill"
)


@pytest.mark.parametrize(
    ("defect", "verdict", "caught"),
    [
        (QUIET, "falsified", True),
        (QUIET, "survived", False),
        (QUIET, "vacuous", False),
        (QUIET, "broken", False),
        (QUIET, "unattempted", False),
        (LOUD, "vacuous", True),
        (LOUD, "broken", False),
        (LOUD, "survived", False),
    ],
)
def test_only_a_falsified_attempt_catches(defect: Defect, verdict: str, caught: bool) -> None:
    """A broken attempt proves nothing, and a vacuous one only where the saboteur says why."""
    assert judge(defect, {"verdict": verdict, "why": "because"})[0] is caught


def test_an_attempt_without_record_catches_nothing() -> None:
    """A crash of the run is not a finding."""
    assert judge(QUIET, None)[0] is False
