"""Reading configuration: every mistake is named with its line, nothing hangs, nothing broken spreads."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duende.config import (
    DaemonConfig,
    RestartPolicy,
    config_hash,
    decode_json,
    load,
    load_fleet,
    loads,
    read_env_file,
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


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """F109, F110: loops, long paths, folders without rights, FIFOs and missing files are clear errors at
    once.
    """
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    binary = tmp_path / "binary"
    binary.write_bytes(b"name = '\xff'")
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(5 * 1024**2)
    cases = {
        str(loop): "ELOOP",
        str(fifo): "EINVAL",
        str(tmp_path / "none"): "ENOENT",
        "/" + "x/" * 3000: "ENAMETOOLONG",
        "a\0b": "EINVAL",
        str(binary): "not UTF-8",
        str(huge): "larger than",
    }
    for path, word in cases.items():
        began = time.monotonic()
        with pytest.raises(ConfigError, match=word) as caught:
            load(path)
        assert time.monotonic() - began < 5
        assert len(str(caught.value)) < 600


def test_a_fleet_in_one_file(tmp_path: Path) -> None:
    """Tables share [defaults]; a broken one isolates itself, with its own line; a name is used once."""
    path = tmp_path / "fleet.toml"
    path.write_text(
        '[defaults]\nbinary_path = "/bin/true"\n[defaults.resources]\npids_max = 7\n'
        '[[daemon]]\nname = "a"\n[daemon.resources]\nopen_files_max = 9\n'
        '[[daemon]]\nname = "b"\ncount = 2\n[[daemon]]\nname = "c"\n[daemon.resources]\npids_max = 0\n'
        '[[daemon]]\nname = "a"\n'
    )
    fleet = load_fleet(str(path))
    assert [name for name, _ in fleet] == ["a", "b-0", "b-1", "c", "a"]
    first = fleet[0][1]
    assert isinstance(first, DaemonConfig)
    assert (first.resources.pids_max, first.resources.open_files_max) == (7, 9)
    assert isinstance(fleet[2][1], DaemonConfig)
    broken = fleet[3][1]
    assert isinstance(broken, ConfigError)
    assert broken.problems[0].startswith(f"{path}:15: resources.pids_max")
    assert "used twice" in str(fleet[4][1])
    with pytest.raises(ConfigError, match="it has 5"):
        load(str(path))


def test_a_fleet_in_a_folder(tmp_path: Path) -> None:
    """S010: each file is its own; broken ones, folders and other files harm nobody."""
    (tmp_path / "a.toml").write_text(MINIMAL)
    (tmp_path / "b.toml").write_text("name = \n")
    (tmp_path / "c.toml").write_text('name = "-"\nbinary_path = "/x"\n')
    (tmp_path / "d.toml").symlink_to(tmp_path / "d.toml")
    (tmp_path / "notes.txt").write_text("not mine")
    fleet = dict(load_fleet(str(tmp_path)))
    assert isinstance(fleet.pop("web"), DaemonConfig)
    assert len(fleet) == 3
    assert all(isinstance(value, ConfigError) for value in fleet.values())


def test_fleet_files_are_strict(tmp_path: Path) -> None:
    """Unknown keys beside the tables, and tables that are none, are mistakes too."""
    path = tmp_path / "fleet.toml"
    path.write_text("naem = 1\n[[daemon]]\nname = 'a'\n")
    with pytest.raises(ConfigError, match="naem"):
        load_fleet(str(path))
    path.write_text("daemon = [1]\n")
    assert isinstance(load_fleet(str(path))[0][1], ConfigError)


def test_a_thousand_instances_are_cheap() -> None:
    """Count = 1000 shares everything but the name."""
    from duende.config.load import _expand

    whole = config(count=1000)
    taken: list[float] = []
    fleet = _expand(whole)
    for _ in range(5):
        began = time.perf_counter()
        fleet = _expand(whole)
        taken.append(time.perf_counter() - began)
    assert [fleet[0][0], fleet[999][0]] == ["web-0", "web-999"]
    last = fleet[999][1]
    assert isinstance(last, DaemonConfig)
    assert last.resources is whole.resources
    assert min(taken) < 0.005


def test_the_command_line_gives_what_the_file_leaves_out(tmp_path: Path) -> None:
    """Name and class may come from elsewhere; what the file says wins."""
    path = tmp_path / "daemon.toml"
    path.write_text("[settings]\nport = 80\n")
    found = load(str(path), name="given", daemon="mod:Class")
    assert (found.name, found.daemon, found.settings) == ("given", "mod:Class", {"port": 80})
    path.write_text(MINIMAL)
    assert load(str(path), name="given", daemon="mod:Class").name == "web"


def test_env_files(tmp_path: Path) -> None:
    """KEY=value lines with comments, quotes and export; any other line is named."""
    path = tmp_path / "env"
    path.write_text("# c\n\nA=1\nexport B='x y'\nC=\"q=r\"\n")
    assert read_env_file(str(path)) == {"A": "1", "B": "x y", "C": "q=r"}
    path.write_text("A=1\nnonsense\n")
    with pytest.raises(ConfigError, match=":2: 'nonsense' is not of the form KEY=value"):
        read_env_file(str(path))


def test_json_handed_over_is_checked() -> None:
    """Broken or foreign JSON is one clear error."""
    for raw in (b"{", b"[]", b'{"name": 3}', b'{"name": "x", "bogus": 1}'):
        with pytest.raises(ConfigError, match="handed over"):
            decode_json(raw)


def test_the_hash_sees_every_change_and_no_order() -> None:
    """Equal configurations have equal hashes, whatever the order of their keys; a change changes it."""
    one, other = config(env={"A": "1", "B": "2"}), config(env={"B": "2", "A": "1"})
    assert config_hash(one) == config_hash(other) != config_hash(config(env={"A": "1"}))
    assert len(config_hash(one)) == 16


def test_what_toml_cannot_say_is_a_type_error() -> None:
    """Settings made in code that TOML has no form for are refused, not mangled."""
    with pytest.raises(TypeError, match="as TOML"):
        to_toml(config(settings={"x": [None]}))
    assert "2020-01-02" in to_toml(loads(MINIMAL + "[settings]\nday = 2020-01-02\n"))


def test_a_class_in_a_file_is_meant_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path lies beside the file that says it, one given on the command line where the person is; modules stay as they are."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    file = tmp_path / "etc" / "d.toml"
    for said, meant in (
        ("counter.py:Counter", f"{tmp_path}/etc/counter.py:Counter"),
        ("../x/counter.py:Counter", f"{tmp_path}/x/counter.py:Counter"),
        ("/srv/counter.py:Counter", "/srv/counter.py:Counter"),
        ("package.module:Counter", "package.module:Counter"),
    ):
        file.write_text(f'[[daemon]]\nname = "c"\ndaemon = "{said}"\n')
        ((_, found),) = load_fleet(str(file))
        assert not isinstance(found, ConfigError)
        assert found.daemon == meant
    file.write_text('name = "c"\n')
    assert load(str(file), daemon="counter.py:Counter").daemon == f"{tmp_path}/home/counter.py:Counter"
