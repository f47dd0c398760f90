"""The kit: claims, attempts, trials, verdicts, saboteurs.

What an author of attempts needs is re-exported here.
"""

from __future__ import annotations

from falsification.kit.authoring import attempt
from falsification.kit.needs import Host, need, program
from falsification.kit.outcomes import DeadlineExceeded, Falsified, Unattempted, Vacuous
from falsification.kit.saboteur import Edit, mutant, patch
from falsification.kit.trial import Trial
from falsification.kit.verdict import Level, Verdict

__all__ = [
    "DeadlineExceeded",
    "Edit",
    "Falsified",
    "Host",
    "Level",
    "Trial",
    "Unattempted",
    "Vacuous",
    "Verdict",
    "attempt",
    "mutant",
    "need",
    "patch",
    "program",
]
