"""One file per scenario, each with a `SCENARIO`; found by their names."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from scenarios.scenario import Scenario


def ids() -> list[str]:
    """The ids there are, in order."""
    return sorted(
        found.name.upper() for found in pkgutil.iter_modules(__path__) if found.name.startswith("s")
    )


def load(wanted: Sequence[str] = ()) -> list[Scenario]:
    """The scenarios of these ids, all when none is given.

    Raises:
        KeyError: there is none of one of these ids; the text names those there are.
    """
    known = ids()
    chosen = [name.upper() for name in wanted] or known
    if strange := [name for name in chosen if name not in known]:
        raise KeyError(f"no scenario {', '.join(strange)}; there are {', '.join(known)}")
    found = []
    for name in chosen:
        scenario = importlib.import_module(f"{__name__}.{name.lower()}").SCENARIO
        if not isinstance(scenario, Scenario) or scenario.id != name:
            raise TypeError(f"{name.lower()}.py does not hold the scenario {name}")
        found.append(scenario)
    return found
