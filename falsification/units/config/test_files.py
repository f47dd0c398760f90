"""Configuration files: fleets, folders, what cannot be read, and what is left out of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from duende.config import (
    DaemonConfig,
    config_hash,
    decode_json,
    load,
    load_fleet,
    loads,
    read_env_file,
    to_toml,
)
from duende.errors import ConfigError
from falsification.units.config.test_load import MINIMAL
from falsification.units.support import config


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
