"""Trace Context: round trips, and whatever else comes is refused with one error."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from duende.errors import TraceContextError
from duende.observe.tracecontext import MOST_MEMBERS, TraceContext, parse_tracestate

HEX = "0123456789abcdef"
KEYS = st.from_regex(re.compile(r"[a-z][_0-9a-z\-*/]{0,20}", re.ASCII), fullmatch=True)
VALUES = st.from_regex(
    re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,20}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"), fullmatch=True
)
CONTEXTS = st.builds(
    TraceContext,
    trace_id=st.text(HEX, min_size=32, max_size=32).filter(lambda text: set(text) != {"0"}),
    span_id=st.text(HEX, min_size=16, max_size=16).filter(lambda text: set(text) != {"0"}),
    flags=st.integers(0, 1),
    state=st.dictionaries(KEYS, VALUES, max_size=MOST_MEMBERS).map(lambda found: tuple(found.items())),
)


@given(CONTEXTS)
def test_headers_read_back(context: TraceContext) -> None:
    """Both headers, and both variables."""
    assert TraceContext.continued(context.headers()) == context
    assert TraceContext.from_environment(context.environment()) == context


@given(st.text(), st.text())
@example("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "a=1,a=2")
@example("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "a=1,,\t b=2 ,")
def test_any_text_is_a_context_or_one_error(parent: str, state: str) -> None:
    """Nothing else is raised, and what is invalid begins a new trace."""
    try:
        found = TraceContext.parse(parent, state)
    except TraceContextError as error:
        assert error.remedy
    else:
        assert TraceContext.parse(found.traceparent).trace_id == found.trace_id
    assert TraceContext.continued({"traceparent": parent, "tracestate": state}).trace_id
    assert TraceContext.from_environment({"TRACEPARENT": parent}) is None or parent


@pytest.mark.parametrize(
    "text",
    ["a", "=1", "a=", "A=1", "a=1,a=2", "a b=1", "a=\x7f", "a=b=c", "a@=1", "@b=1", "a@bcdefghijklmnop=1", "x" * 257 + "=1", "a=" + "b" * 257,
     ",".join(f"k{number}=1" for number in range(33))],
)  # fmt: skip
def test_a_tracestate_that_is_none(text: str) -> None:
    """It is refused whole, and does not harm the trace."""
    with pytest.raises(TraceContextError):
        parse_tracestate(text)
    found = TraceContext.parse(f"00-{'1' * 32}-{'2' * 16}-01", text)
    assert found.state == ()
    assert "tracestate" not in found.headers()


def test_members_of_tracestate() -> None:
    """Blanks around and empty members are left out; tenants have a key of two parts; order is kept."""
    assert parse_tracestate(" a=1 ,,\tb= 2,fw529a3039@dt=FfTjhg ") == (
        ("a", "1"),
        ("b", " 2"),
        ("fw529a3039@dt", "FfTjhg"),
    )
    assert parse_tracestate("") == ()
    context = TraceContext.new()
    for key, value in (("A", "1"), ("a", "1,"), ("a", "")):
        with pytest.raises(TraceContextError):
            context.with_state(key, value)


def test_a_new_trace() -> None:
    """Ids are not zero and not used twice; whether it is sampled is said."""
    made = [TraceContext.new(sampled=number % 2 == 0) for number in range(100)]
    assert len({context.trace_id for context in made}) == 100
    assert [context.sampled for context in made[:2]] == [True, False]
    assert TraceContext.from_environment({}) is None
