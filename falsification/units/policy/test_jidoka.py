"""The line stops where something is wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from duende.policy.jidoka import ADVICE, Evidence, JidokaGate, Kind

CHECKS = st.lists(st.tuples(st.sampled_from(Kind), st.booleans()), max_size=8)


@given(CHECKS, st.booleans())
def test_order_stop_and_advice(checks: list[tuple[Kind, bool]], stop_on_first: bool) -> None:
    """Checks run in order up to the first violation, or all of them; each kind advises once."""
    ran: list[int] = []
    gate = JidokaGate(stop_on_first=stop_on_first)
    for number, (kind, good) in enumerate(checks):

        def verify(evidence: Evidence, number: int = number, good: bool = good) -> str | None:
            ran.append(number)
            return None if good else f"wrong {number}"

        gate.add_check(f"check {number}", kind, verify)
    evidence = Evidence()
    outcome = gate.check(evidence)
    bad = [number for number, (_, good) in enumerate(checks) if not good]
    expected = bad[:1] if stop_on_first else bad
    assert [stop.check for stop in outcome.violations] == [f"check {number}" for number in expected]
    assert ran == list(range(bad[0] + 1 if stop_on_first and bad else len(checks)))
    assert len(ran) + len(outcome.unchecked) == len(checks)
    assert outcome.passed == evidence.all_passed == (not bad)
    advice = [ADVICE[checks[number][0]] for number in expected]
    assert outcome.recommendation == "; ".join(dict.fromkeys(advice))


def test_a_check_that_fails_stops_the_line() -> None:
    """Who cannot look has not seen that all is well."""

    def broken(evidence: Evidence) -> None:
        evidence.add("half", True)
        raise OSError("no disk")

    gate = JidokaGate()
    gate.add_check("look", Kind.INVARIANT, broken)
    outcome = gate.check()
    assert not outcome.passed
    assert "OSError: no disk" in outcome.violations[0].message


def test_nothing_to_check_passes() -> None:
    """No check, no violation; nothing looked at, nothing failed."""
    assert JidokaGate().check().passed
    assert Evidence().all_passed
