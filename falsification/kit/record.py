"""The record of one attempt: written to disk the moment it ends, so that a crash later loses nothing."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falsification.kit.verdict import Verdict

if TYPE_CHECKING:
    from falsification.kit.trial import Attachment, Trial


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came of one attempt, under a saboteur or without."""

    claim: str
    """Id of the claim."""
    verdict: Verdict
    """The verdict."""
    why: str
    """The reason, empty for a survivor."""
    level: str
    """The evidence the attempt gave."""
    seed: int
    """Its seed."""
    duration_s: float
    """Seconds it took."""
    figures: tuple[dict[str, Any], ...]
    """In the shape of verdicts.json."""
    situations: tuple[str, ...]
    """What was reached how often, in words."""
    saboteur: str
    """The planted defect, or empty."""
    lines: tuple[str, ...]
    """The log."""
    attachments: tuple[Attachment, ...]
    """The files of evidence."""

    @classmethod
    def of(cls, trial: Trial, verdict: Verdict, why: str, duration_s: float) -> Record:
        """Freeze *trial* as it stands."""
        return cls(
            claim=trial.claim.id,
            verdict=verdict,
            why=why,
            level=trial.level.value,
            seed=trial.seed,
            duration_s=round(duration_s, 3),
            figures=tuple(figure.to_json() for figure in trial.figures),
            situations=tuple(str(situation) for situation in trial.situations.values()),
            saboteur=trial.saboteur,
            lines=tuple(trial.lines),
            attachments=tuple(trial.attachments),
        )

    def to_json(self) -> dict[str, Any]:
        """The record without log and attachments, which lie beside it as files."""
        return {
            "claim": self.claim,
            "verdict": self.verdict.value,
            "why": self.why,
            "level": self.level,
            "seed": self.seed,
            "duration_s": self.duration_s,
            "figures": list(self.figures),
            "situations": list(self.situations),
            "saboteur": self.saboteur,
            "attachments": [{"name": each.name, "mime": each.mime} for each in self.attachments],
        }

    def write(self, folder: Path) -> None:
        """Write log, attachments and, last and atomically, record.json into *folder*, replacing what an
        earlier run left there.
        """
        files = folder / "files"
        files.mkdir(parents=True, exist_ok=True)
        for old in files.iterdir():
            old.unlink()
        for each in self.attachments:
            (files / Path(each.name).name).write_bytes(each.data)
        (folder / "log.txt").write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8")
        write_atomically(folder / "record.json", json.dumps(self.to_json(), indent=1, allow_nan=False))


def write_atomically(path: Path, text: str) -> None:
    """Write *text* to a neighbour of *path* and rename it into place: a reader sees the old or the new, never
    half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
