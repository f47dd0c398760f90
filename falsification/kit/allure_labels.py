"""Labels and attachments for Allure, where allure-pytest is installed and asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from falsification.kit.claim import CATEGORIES

if TYPE_CHECKING:
    from falsification.kit.record import Record
    from falsification.kit.trial import Trial


def label(trial: Trial, record: Record) -> None:
    """Tell Allure the claim, its category and level, and hand over figures, log and attachments."""
    try:
        import allure
    except ImportError:
        return  # the plain report and verdicts.json carry all of it
    claim = trial.claim
    allure.dynamic.title(f"{claim.id} {claim.title}")
    allure.dynamic.description(
        f"{claim.attempt}\n\nSurvives when: {claim.criterion}\n\nVerdict: {record.verdict.value} {record.why}"
    )
    allure.dynamic.id(claim.id)
    allure.dynamic.epic(f"{claim.category} {CATEGORIES.get(claim.category, claim.category)}")
    allure.dynamic.feature(f"{claim.id} {claim.title}")
    allure.dynamic.story(trial.attempt.sentence)
    allure.dynamic.label("claim", claim.id)
    allure.dynamic.label("category", claim.category)
    allure.dynamic.label("level", record.level)
    allure.dynamic.label("verdict", record.verdict.value)
    allure.dynamic.parameter("seed", record.seed)
    allure.attach(json.dumps(list(record.figures), indent=1), "figures", allure.attachment_type.JSON)
    allure.attach("\n".join(record.lines), "log", allure.attachment_type.TEXT)
    for each in record.attachments:
        allure.attach(each.data, each.name, each.mime)
