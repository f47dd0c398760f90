"""The shaper of a network namespace: what tc is told, what is made of its answers, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import PlatformResourceError
from duende.policy.traffic import HANDLE, LEAST, WINDOW, Shaper, _table, rule

WIRE = [{}, {"ifname": "wire", "flags": ["UP"]}, {"ifname": "lo", "flags": ["LOOPBACK", "UP"]}]


class Told(Shaper):
    """A shaper whose programs answer what the test says."""

    def __init__(self, links: Any = WIRE, disciplines: Any = ()) -> None:
        super().__init__("/run/netns/of-the-test")
        self.answers = {"ip": json.dumps(links), "tc": json.dumps(list(disciplines))}
        self.lines: list[tuple[str, ...]] = []

    def _run(self, *words: str) -> str:
        self.lines.append(words)
        return self.answers[words[0]]

    @property
    def changes(self) -> list[str]:
        """What tc was told to change."""
        return [words[2] for words in self.lines if words[:2] == ("tc", "qdisc")]


@given(st.integers(LEAST, 1 << 40))
def test_no_window_holds_more_than_the_limit(bps: int) -> None:
    """No window holds more than the limit."""
    words = rule(bps)
    rate, bucket = (
        int(words[words.index("rate") + 1].removesuffix("bps")),
        int(words[words.index("burst") + 1]),
    )
    assert rate >= bps * 0.89
    assert bucket + rate * WINDOW <= bps * WINDOW


@given(st.text())
def test_answers_that_are_none_are_nothing(text: str) -> None:
    """Answers that are none are nothing."""
    assert isinstance(_table(text), list)
    assert _table('[{}, 1, {"a": 2}]') == [{"a": 2}]


def test_the_one_interface_is_shaped_and_opened_up_again() -> None:
    """The one interface is shaped and opened up again."""
    shaper = Told()
    shaper.apply(LEAST)
    assert shaper.lines[-1] == ("tc", "qdisc", "replace", "dev", "wire", *rule(LEAST))
    ours = {"root": True, "handle": HANDLE, "kind": "tbf", "options": {"rate": 99}, "bytes": 7}
    limited = Told(disciplines=[ours])
    assert limited.shown() == (99, 7)
    limited.apply(0)
    assert limited.lines[-1][:3] == ("tc", "qdisc", "del")
    free = Told(disciplines=[{"root": True, "handle": "0:", "kind": "noqueue"}])
    assert free.shown() == (0, 0)
    free.apply(0)
    assert "del" not in free.changes


@pytest.mark.parametrize(
    ("shaper", "bps", "why"),
    [
        (Told(links=[WIRE[-1]]), LEAST, "nothing up besides lo"),
        (Told(links=[*WIRE, {"ifname": "second", "flags": []}]), LEAST, "wire, second up besides lo"),
        (Told(disciplines=[{"root": True, "handle": "8001:", "kind": "htb"}]), LEAST, "somebody else's, htb"),
        (Told(), LEAST - 1, "use 10000 or more"),
        (Shaper("/proc/self/ns/net"), LEAST, "host's own namespace"),
        (Shaper("/nowhere/at/all"), LEAST, "cannot limit the network of /nowhere/at/all"),
    ],
)
def test_what_cannot_be_shaped_is_said(shaper: Shaper, bps: int, why: str) -> None:
    """What cannot be shaped is said."""
    with pytest.raises(PlatformResourceError, match=why):
        shaper.apply(bps)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is named."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PlatformResourceError, match=r"ip is not on the path.*iproute2"):
        Shaper("/nowhere/at/all").apply(LEAST)
