"""Frames between adapter and warden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.native.warden import wire

MESSAGES = st.lists(
    st.tuples(st.text(max_size=8), st.integers(), st.lists(st.text(max_size=20), max_size=5)), max_size=6
)


@given(MESSAGES, st.integers(1, 40))
def test_messages_survive_any_cut(messages: list[tuple[str, int, list[str]]], size: int) -> None:
    """However the stream is cut, every message arrives whole and in order."""
    stream = b"".join(wire.pack(message) for message in messages)
    inbox = wire.Inbox()
    found = [
        each for start in range(0, len(stream), size) for each in inbox.feed(stream[start : start + size])
    ]
    assert found == messages


def test_nonsense_is_noticed() -> None:
    """A length beyond reason means that the stream is out of step."""
    with pytest.raises(ValueError, match="frame of"):
        list(wire.Inbox().feed(b"\xff\xff\xff\xff"))
