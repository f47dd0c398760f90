"""Reading verdicts.json: against its schema, against the claims, and in itself. What does not fit is malformed, never a pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from falsification.kit.claim import Claim
from falsification.kit.suite import KIT_ROOT

SCHEMA_FILE = Path(__file__).with_name("verdicts.schema.json")
DEFAULT_FILE = KIT_ROOT / "reports" / "out" / "verdicts.json"


class MalformedError(Exception):
    """The verdicts cannot be used; the text says why."""


def read(path: Path, claims: Mapping[str, Claim]) -> dict[str, Any]:
    """Read and check the file.

    Raises:
        MalformedError: it is absent, no JSON, against the schema, or not about exactly these claims.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise MalformedError(f"cannot read {path}: {error.strerror}; run `nox -s falsify` first") from error
    except ValueError as error:
        raise MalformedError(f"{path} is no JSON: {error}") from error
    check(data, claims)
    found: dict[str, Any] = data
    return found


def check(data: Any, claims: Mapping[str, Claim]) -> None:
    """Check decoded verdicts.

    Raises:
        MalformedError: they are against the schema, or not about exactly these claims.
    """
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    # Sorting needs comparable paths: indices and keys stand mixed in them, so they are compared as text.
    errors = sorted(validator.iter_errors(data), key=lambda error: [str(part) for part in error.path])
    if errors:
        first = errors[0]
        place = "/".join(str(part) for part in first.path) or "the top"
        raise MalformedError(
            f"{len(errors)} places are against the schema, first at {place}: {first.message[:200]}"
        )
    problems = _against_claims(data["claims"], claims)
    if problems:
        raise MalformedError("; ".join(problems[:5]))


def _against_claims(entries: list[dict[str, Any]], claims: Mapping[str, Claim]) -> list[str]:
    ids = [entry["id"] for entry in entries]
    problems = [f"{name} stands {ids.count(name)} times" for name in sorted(set(ids)) if ids.count(name) > 1]
    problems += [f"{name} is missing" for name in claims if name not in ids]
    problems += [f"{name} is no claim" for name in sorted(set(ids)) if name not in claims]
    for entry in entries:
        claim = claims.get(entry["id"])
        if claim and (entry["title"], entry["requires"]) != (claim.title, claim.requires.value):
            problems.append(f"{claim.id} has another title or required level than claims.toml")
        for figure in entry["figures"]:
            if (figure["relation"] is None) != (figure["threshold"] is None):
                problems.append(
                    f"{entry['id']}: figure {figure['name']!r} has a relation without a threshold or the reverse"
                )
    return problems


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")
