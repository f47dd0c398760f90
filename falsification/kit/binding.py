"""Every claim is bound exactly once: to an attempt, or to a reason why there is none yet. Otherwise nothing
starts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from falsification.kit.authoring import Attempt


def problems(
    claims: Iterable[str],
    attempts: Iterable[Attempt],
    unattempted: Mapping[str, str],
    saboteurs: Iterable[str] | None = None,
) -> list[str]:
    """Everything wrong with the bindings, one sentence each.

    Without *saboteurs* their names are not looked at.
    """
    ids = set(claims)
    bound = list(attempts)
    known = None if saboteurs is None else set(saboteurs)
    times = Counter(each.claim for each in bound)
    found: list[str] = []
    for each in bound:
        if each.claim not in ids:
            found.append(f"{each.name} is bound to {each.claim}, which is no claim")
        if known is not None:
            found += [
                f"{each.name} ({each.claim}) names the saboteur {name!r}, which nobody defined"
                for name in each.saboteurs
                if name not in known
            ]
    found += [f"{name} has {count} attempts, not one" for name, count in sorted(times.items()) if count > 1]
    found += [
        f"{name} has an attempt and still stands in the table of unattempted claims"
        for name in sorted(times)
        if name in unattempted
    ]
    found += [
        f"{name} in the table of unattempted claims is no claim"
        for name in sorted(unattempted)
        if name not in ids
    ]
    found += [
        f"{name} stands among the unattempted claims without a reason"
        for name in sorted(unattempted)
        if not unattempted[name].strip()
    ]
    found += [
        f"{name} has neither an attempt nor a reason for having none"
        for name in sorted(ids - set(times) - set(unattempted))
    ]
    return found
