"""The line a key stands on."""

from __future__ import annotations

import pytest

from duende.config.locate import line_of

TEXT = """\
# a comment
name = "x"
script = \"\"\"
pids_max = 1
[resources]
\"\"\"
env.PORT = "1"
env."QUO.TED" = "2"

[ resources ] # limits
pids_max = 3

[[daemon]]
name = "a"
[daemon.resources]
pids_max = 1
[[daemon]]
name = "b"
restart.policy = "no"
"""


@pytest.mark.parametrize(
    ("key", "prefix", "line"),
    [
        ("name", "", 2),
        ("env.PORT", "", 7),
        ("resources.pids_max", "", 11),
        ("resources.nice", "", 10),
        ("name", "daemon[0]", 14),
        ("resources.pids_max", "daemon[0]", 16),
        ("name", "daemon[1]", 18),
        ("restart.policy", "daemon[1]", 19),
        ("restart.jitter", "daemon[1]", 17),
        ("nothing", "", 1),
    ],
)
def test_lines(key: str, prefix: str, line: int) -> None:
    """A key is found where it stands, an absent one at its table; text in strings is no key."""
    assert line_of(TEXT, key, prefix) == line
