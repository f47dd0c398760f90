"""Reading configuration: every mistake is named with its line, nothing hangs, nothing broken spreads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duende.config import (
    DaemonConfig,
    RestartPolicy,
    config_hash,
    decode_json,
    loads,
    to_toml,
    validate,
)
from duende.config.show import as_json
from duende.errors import ConfigError
from falsification.units.support import config

MINIMAL = 'name = "web"\nbinary_path = "/bin/true"\n'
TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cc", "Cs")), max_size=12
)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,40}", fullmatch=True)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SECONDS = st.floats(0.001, 1e6)
GENERATED = st.builds(
    lambda tables, **top: {**top, **tables},
    name=NAMES,
    binary_path=st.just("/bin/true"),
    description=TEXT,
    args=st.lists(TEXT, max_size=3),
    env=st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), TEXT, max_size=3),
    shutdown_timeout=SECONDS,
    settings=st.dictionaries(TEXT, VALUES, max_size=3),
    tables=st.fixed_dictionaries(
        {},
        optional={
            "resources": st.fixed_dictionaries(
                {"memory_bytes": st.integers(0, 2**40), "pids_max": st.integers(1, 2**31)}
            ),
            "health_check": st.fixed_dictionaries({"interval": SECONDS, "retries": st.integers(1, 9)}),
            "restart": st.fixed_dictionaries(
                {
                    "policy": st.sampled_from([p.value for p in RestartPolicy]),
                    "jitter": st.floats(0, 1),
                    "window": SECONDS,
                }
            ),
            "logging": st.fixed_dictionaries(
                {"max_bytes": st.integers(1024, 2**40), "backups": st.integers(0, 9)}
            ),
        },
    ),
)


def mistakes(text: str) -> tuple[str, ...]:
    """The mistakes found in a TOML text."""
    with pytest.raises(ConfigError) as caught:
        loads(text, "daemon.toml")
    return caught.value.problems


@given(GENERATED)
@settings(max_examples=60)
def test_a_valid_configuration_survives_toml_and_json(data: dict[str, Any]) -> None:
    """What is loaded is the same after it was written as TOML or JSON and read again, and so is its hash."""
    import msgspec

    first = loads(to_toml(msgspec.convert(data, DaemonConfig)))
    again = loads(to_toml(first))
    assert again == first == decode_json(as_json(first))
    assert config_hash(again) == config_hash(first)
    validate(first)


CORRUPTIONS: list[tuple[str, object]] = [
    ("name", "-web"),
    ("name", "a b"),
    ("name", "a" * 65),
    ("name", ""),
    ("version", "new"),
    ("description", "bell\a"),
    ("binary_path", ""),
    ("binary_path", "/" + "x" * 4096),
    ("binary_path", "/" + "y" * 256),
    ("daemon", "mod:Class"),
    ("working_dir", "relative"),
    ("pid_file", "relative.pid"),
    ("shutdown_timeout", -1),
    ("shutdown_timeout", 0),
    ("shutdown_timeout", float("nan")),
    ("shutdown_timeout", "soon"),
    ("shutdown_timeout", True),
    ("count", 0),
    ("resources.memory_bytes", -1),
    ("resources.memory_bytes", "lots"),
    ("resources.memory_swap_bytes", 1),
    ("resources.cpu_quota_percent", float("nan")),
    ("resources.cpu_quota_percent", 0.0),
    ("resources.cpu_quota_percent", float("inf")),
    ("resources.cpu_shares", 0),
    ("resources.pids_max", 0),
    ("resources.pids_max", 2**64),
    ("resources.open_files_max", 0),
    ("resources.nice", 20),
    ("resources.lock_memory_required", True),
    ("health_check.interval", 0),
    ("health_check.timeout", -1),
    ("health_check.retries", 0),
    ("health_check.successes", 0),
    ("health_check.port", 65536),
    ("restart.policy", "sometimes"),
    ("restart.initial_delay", -1),
    ("restart.multiplier", 0.5),
    ("restart.multiplier", float("nan")),
    ("restart.max_delay", 0.5),
    ("restart.max_retries", -1),
    ("restart.window", 0),
    ("restart.jitter", 1.5),
    ("logging.max_bytes", 10),
    ("logging.backups", -1),
    ("logging.path", "relative.log"),
    ("readiness.kind", "maybe"),
    ("readiness.port", 0),
    ("readiness.pattern", "("),
    ("platform.priority", 8),
    ("platform.vcpus", 0),
    ("platform.native.preload", "yes"),
    ("platform.native.python", 3),
    ("platform.native.pyton", "/p"),
    ("nonsense", 1),
    ("resources.memory", 1),
    ("settings.rate", float("inf")),
    ("settings.rate", float("nan")),
]


@pytest.mark.parametrize(("key", "value"), CORRUPTIONS, ids=lambda value: str(value)[:30])
def test_every_corruption_is_named(key: str, value: object) -> None:
    """One wrong key gives one mistake that starts with the file and names the key."""
    from duende.config.show import _value

    *section, last = key.split(".")
    lines = (
        MINIMAL
        if key not in ("name", "binary_path")
        else "".join(line for line in MINIMAL.splitlines(keepends=True) if not line.startswith(key))
    )
    text = (
        f"{lines}[{'.'.join(section)}]\n{last} = {_value(value)}\n"
        if section
        else f"{last} = {_value(value)}\n{lines}"
    )
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"daemon.toml:{4 if section else 1}: {key}: "), found


def test_all_mistakes_come_at_once() -> None:
    """Several mistakes of every kind are all reported, each with its line."""
    text = f"{MINIMAL}shutdown_timeout = -1\nnme = 1\nargs = [1]\n"
    text += "[resources]\npids_max = 0\nnice = 'x'\nopen_files_max = 0\n"
    assert sorted(int(line.split(":")[1]) for line in mistakes(text)) == [3, 4, 5, 7, 8, 9]
    found = mistakes(f"{MINIMAL}count = 0\n[resources]\npids_max = 0\n\nopen_files_max = 0\n")
    assert [line.split(": ")[0] for line in found] == ["daemon.toml:3", "daemon.toml:5", "daemon.toml:7"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (MINIMAL + "descripton = 'x'\n", "did you mean 'description'?"),
        (MINIMAL + "memory_bytes = 1\n", "it belongs into [resources]"),
        (MINIMAL + "[restart]\npolcy = 'always'\n", "did you mean 'policy'?"),
        ("binary_path = '/x'\n", "name"),
        ("name = 'x'\n", "nothing says what to run"),
        (MINIMAL + "daemon = 'nocolon'\n", "keep one"),
        ("name = 'x'\ndaemon = 'nocolon'\n", "module:Class"),
        ("name = 'x\n", "not TOML"),
        (MINIMAL + "env = {PORT = 80}\n", "env"),
        (MINIMAL + "resources = 3\n", "resources"),
        (MINIMAL + "shutdown_timeout = 1" + "0" * 5000, "not TOML"),
        (MINIMAL + "x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (MINIMAL + "[readiness]\nkind = 'port'\n", "readiness.port"),
        (MINIMAL + "[readiness]\nkind = 'exec'\n", "readiness.exec"),
        (MINIMAL + "[readiness]\nkind = 'log-line'\n", "readiness.pattern"),
        (MINIMAL + 'args = ["a\\u0000b"]\n', "args[0]: contains the control character '\\x00'"),
        (MINIMAL + 'env = {"A\\nB" = "x"}\n', "control character"),
        (MINIMAL + "env = {'A=B' = 'x'}\n", "cannot be the name"),
    ],
)
def test_mistakes_come_with_help(text: str, hint: str) -> None:
    """A mistake says what to do about it."""
    assert any(hint in line for line in mistakes(text)), mistakes(text)


def test_both_forms_of_restart() -> None:
    """The short form and the table form of a policy mean the same."""
    short = loads(MINIMAL + 'restart = "always"\n')
    assert short == loads(MINIMAL + '[restart]\npolicy = "always"\n')
    assert short.restart.policy is RestartPolicy.ALWAYS


@pytest.mark.parametrize(
    "lines", ["", "[resources]\nmemory_bytes = 0\n", "[resources]\nmemory_swap_bytes = 0\n"]
)
def test_memory_0_or_absent_is_the_default(lines: str) -> None:
    """F033: 0 and absent both mean the default limit."""
    resources = loads(MINIMAL + lines).resources
    assert (resources.memory_bytes, resources.memory_swap_bytes) == (512 * 1024**2, 1024**3)


def test_a_large_memory_lifts_the_default_swap() -> None:
    """Nobody has to write memory_swap_bytes because memory_bytes is above its default."""
    resources = loads(MINIMAL + '[resources]\nmemory_bytes = "4GiB"\n').resources
    assert resources.memory_swap_bytes == resources.memory_bytes == 4 * 1024**3


def test_a_variable_of_a_megabyte_is_refused() -> None:
    """F108: the error names the variable, its size and the limit of execve(2)."""
    with pytest.raises(ConfigError, match=r"env\.BIG: has 1048581 bytes; execve\(2\) takes at most 131072"):
        validate(config(env={"BIG": "x" * 1024**2}))
    with pytest.raises(ConfigError, match=r"args\[0\]: has"):
        validate(config(args=("x" * 140_000,)))


def test_too_much_environment_together_is_refused() -> None:
    """Many variables that are fine one by one are refused together, before the kernel does."""
    with pytest.raises(ConfigError, match="together; execve"):
        validate(config(env={f"V{n}": "x" * 100_000 for n in range(70)}))


def test_text_of_several_lines_is_text() -> None:
    """Line ends and tabs are welcome in arguments, settings and values of variables, other control characters
    are not.
    """
    script = "import sys\n\tpass"
    validate(config(args=("-c", script), env={"KEY": script}, settings={"a": [script]}))
    for bad in ("\x07", "\x85", "\ud800"):
        with pytest.raises(ConfigError, match=r"args\[1\]"):
            validate(config(args=("-c", bad)))
        with pytest.raises(ConfigError, match="settings"):
            validate(config(settings={"a": [{"b": bad}]}))
