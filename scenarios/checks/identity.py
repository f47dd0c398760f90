"""One daemon is one process tree at a time, and a stranger is never touched."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scenarios.checks.core import Checker, Result, false, true, vacuous
from scenarios.history import Operation, observed


def one_generation_at_a_time(name: str) -> Checker:
    """A generation of *name* begins only after every process of the one before has ended."""

    def one_generation_at_a_time_check(history: Sequence[Operation]) -> Result:
        generations = sorted(observed(history, "generation", name=name), key=lambda o: o.value["began"])
        if len(generations) < 2:
            return vacuous(f"only {len(generations)} generation of {name}")
        for before, after in pairwise(generations):
            if before.value["ended"] is None or after.value["began"] < before.value["ended"]:
                return false(
                    f"pid {after.value['pid']} began before the tree of {before.value['pid']} had ended"
                )
        return true(f"{len(generations)} generations of {name}, one at a time")

    return one_generation_at_a_time_check


def never_two_at_once(name: str, looks: int) -> Checker:
    """No look from outside finds two instances of *name*, and none says itself that it met another.

    It takes so many *looks* that find one, and more than one life.
    """

    def never_two_at_once_check(history: Sequence[Operation]) -> Result:
        found = observed(history, "instances", name=name)
        for look in found:
            if len(look.value["pids"]) > 1:
                return false(f"two instances of {name} at {look.time:.2f} s: {look.value['pids']}")
        lives = observed(history, "life", name=name)
        if clashes := [life for life in lives if life.value["clash"]]:
            return false(f"an instance of {name} met another at {clashes[0].value['begin']:.2f} s")
        if len({(life.value["boot"], life.value["space"], life.value["born"]) for life in lives}) < 2:
            return vacuous(f"only {len(lives)} life of {name}")
        alive = sum(len(look.value["pids"]) == 1 for look in found)
        if alive < looks:
            return vacuous(f"only {alive} of {looks} looks found {name}")
        return true(f"{len(lives)} lives of {name}, never two in {len(found)} looks")

    return never_two_at_once_check


def still_ending(name: str, seconds: float, times: int) -> Checker:
    """At least *times* the tree went on for *seconds* longer after the manager had begun to end it; else it is vacuous."""

    def still_ending_check(history: Sequence[Operation]) -> Result:
        asked = [event.time for event in observed(history, "event", name=name, kind="stopping")]
        spans = []
        for generation in observed(history, "generation", name=name):
            began, ended = generation.value["began"], generation.value["ended"]
            if ended is not None:
                spans += [max((ended - at for at in asked if began < at < ended), default=0.0)]
        slow = [span for span in spans if span >= seconds]
        if len(slow) < times:
            return vacuous(f"only {len(slow)} trees of {name} took their time to end, not {times}")
        return true(f"{len(slow)} trees took their time to end, up to {max(slow):.2f} s")

    return still_ending_check


def stranger_untouched() -> Checker:
    """The stranger with the recycled pid got no signal, was not adopted and lived on."""

    def stranger_untouched_check(history: Sequence[Operation]) -> Result:
        recycled = observed(history, "recycled")
        if not recycled or recycled[0].value["old"] != recycled[0].value["new"]:
            return vacuous("no pid was recycled")
        after = observed(history, "stranger")
        if not after:
            return vacuous("nobody looked at the stranger")
        for look in after:
            if look.value["signals"]:
                return false(f"the stranger got {look.value['signals']}")
            if not look.value["alive"]:
                return false("the stranger was ended")
            if look.value["adopted"]:
                return false("the stranger was adopted")
        return true(f"pid {recycled[0].value['new']} is a stranger's and was left alone")

    return stranger_untouched_check


def lives_on(name: str, seconds: float) -> Checker:
    """The process of *name* was seen alive for that long after the moment that might have ended it."""

    def lives_on_check(history: Sequence[Operation]) -> Result:
        looks = observed(history, "alive", name=name)
        if not looks:
            return vacuous(f"nobody looked at {name}")
        for look in looks:
            if not look.value["alive"]:
                return false(f"{name} (pid {look.value['pid']}) was dead {look.value['after']:.2f} s later")
        longest = max(look.value["after"] for look in looks)
        return (
            true(f"{name} lived {longest:.1f} s on")
            if longest >= seconds
            else vacuous("not watched long enough")
        )

    return lives_on_check


def at_most_one(*names: str, looks: int) -> Checker:
    """No look from outside finds two instances of any of *names*; each was found alive, and all together in so many *looks*."""

    def at_most_one_check(history: Sequence[Operation]) -> Result:
        alive = dict.fromkeys(names, 0)
        for look in observed(history, "instances"):
            name, pids = look.value["name"], look.value["pids"]
            if name in alive and len(pids) > 1:
                return false(f"{len(pids)} instances of {name} at {look.time:.2f} s: {pids}")
            if name in alive:
                alive[name] += len(pids)
        total = sum(alive.values())
        if total < looks or not all(alive.values()):
            return vacuous(f"found alive too seldom: {', '.join(f'{name} {n}' for name, n in alive.items())}")
        return true(f"{len(names)} daemons, never two of one in {total} looks")

    return at_most_one_check
