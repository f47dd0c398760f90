"""Tables are the TOML that duende reads."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.tables import always, daemon, to_toml

TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.text(min_size=1).filter(str.isidentifier) | TEXT, VALUES, max_size=4), min_size=1
    )
)
def test_what_is_written_is_read(tables: list[dict[str, object]]) -> None:
    """Any table of plain values goes through TOML unchanged."""
    assert tomllib.loads(to_toml(tables))["daemon"] == tables


def test_a_daemon_has_the_shape_of_the_configuration() -> None:
    """The tables that workloads make are read by duende without complaint."""
    from duende.config.load import loads

    table = daemon(
        "d", ["/bin/true", "x"], restart=always(initial_delay=0.5), env={"A": "1"}, shutdown_timeout=2
    )
    (text,) = [to_toml([table]).replace("[[daemon]]\n", "").replace("\n\n", "\n")]
    config = loads(text)
    assert (config.name, config.args, config.restart.initial_delay) == ("d", ("x",), 0.5)


def test_what_toml_has_not_is_refused() -> None:
    """There is no null in TOML."""
    with pytest.raises(TypeError, match="None"):
        to_toml([{"a": None}])
