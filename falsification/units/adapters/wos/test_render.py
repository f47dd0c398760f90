"""From a configuration to the words of wos-ctl."""

from __future__ import annotations

from typing import Any

import pytest

from duende.adapters.contract import SpawnRequest
from duende.adapters.wos import render
from duende.adapters.wos.priorities import priority_from_name, priority_name
from duende.adapters.wos.render import Machine
from duende.config.model import (
    DaemonConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    ResourceConfig,
    SecurityConfig,
)
from duende.errors import ConfigError, PlatformConfigError


def words(**fields: Any) -> list[str]:
    """The command line for a module with these fields."""
    config = DaemonConfig(name="web", **{"binary_path": "/srv/web.wasm", **fields})
    return render.spawn(SpawnRequest(daemon_id="d1", config=config), Machine(), 4, {"FROM": "file"})


def after(line: list[str], option: str) -> list[str]:
    """What stands after each use of an option."""
    line = line[: line.index("--")]
    return [line[n + 1] for n, word in enumerate(line) if word == option]


def wos(**keys: Any) -> PlatformSection:
    """`[platform.wos]`."""
    return PlatformSection(wos=keys)


def test_the_books_form_is_written() -> None:
    """Name, priority and module; arguments come last, whatever they look like."""
    line = words(args=("--priority", "", "two words"), env={"A": "b c"}, working_dir="/srv")
    assert line[0] == "spawn"
    assert after(line, "--name") == ["web"]
    assert after(line, "--wasm") == ["/srv/web.wasm"]
    assert after(line, "--priority") == ["4"]
    assert after(line, "--cwd") == after(line, "--dir") == ["/srv"]
    assert {"A=b c", "FROM=file", "DUENDE_DAEMON_ID=d1"} <= set(after(line, "--env"))
    assert line[line.index("--") + 1 :] == ["--priority", "", "two words"]


def test_platform_keys_arrive() -> None:
    """Priority of either key, capabilities, folders, fuel."""
    line = words(platform=wos(priority=0, capabilities=["net", "fs:read"], folders=["/data"], fuel=9))
    assert after(line, "--priority") == ["0"]
    assert after(line, "--capability") == ["net", "fs:read"]
    assert after(line, "--dir") == ["/data"]
    assert after(line, "--fuel") == ["9"]
    assert after(words(platform=PlatformSection(priority=7)), "--priority") == ["7"]


def test_limits_arrive_and_defaults_fit_the_machine() -> None:
    """What nobody asked for is no more than the kernel has; what was asked for is asked for."""
    assert after(words(), "--memory") == [str(Machine().memory)]
    assert after(words(), "--fds") == ["256"]
    asked = ResourceConfig(memory_bytes=1 << 30, open_files_max=99, pids_max=3)
    line = words(resources=asked)
    assert (after(line, "--memory"), after(line, "--fds"), after(line, "--pids")) == (
        [str(1 << 30)],
        ["99"],
        ["3"],
    )
    assert after(words(resources=asked, best_effort=True), "--memory") == [str(Machine().memory)]
    assert after(words(logging=LoggingConfig(destination=LogDestination.NULL)), "--log-bytes") == ["0"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"binary_path": None, "daemon": "a:B"}, "Python class"),
        ({"platform": wos(priority=8)}, "WOS priority 8"),
        ({"platform": wos(priority=True)}, "platform.wos"),
        ({"platform": wos(prio=1)}, "platform.wos.prio"),
        ({"platform": wos(capabilities=["root"])}, "'root'"),
        ({"platform": wos(fuel=-1)}, "fuel"),
        ({"platform": PlatformSection(priority=1, wos={"priority": 2})}, "platform.priority = 1"),
        ({"user": "nobody"}, "user"),
        ({"security": SecurityConfig(umask=0o22)}, "umask"),
        ({"logging": LoggingConfig(path="/x")}, "logging.path"),
        ({"logging": LoggingConfig(destination=LogDestination.INHERIT)}, "destination"),
        ({"args": ("a\0b",)}, "zero byte"),
    ],
)
def test_what_wos_cannot_take_is_refused(fields: dict[str, Any], text: str) -> None:
    """With the key and its value."""
    with pytest.raises(PlatformConfigError, match=text):
        words(**fields)


def test_nothing_to_run_is_an_error() -> None:
    """Neither a module nor a class."""
    with pytest.raises(ConfigError, match="binary_path"):
        words(binary_path=None)


def test_levels_have_names() -> None:
    """As people write them."""
    assert [
        priority_from_name(name) for name in ("Critical", "above-normal", "normal+", "normal_plus", "IDLE")
    ] == [0, 2, 3, 3, 7]
    assert (priority_name(4), priority_name(8)) == ("normal", "unknown")
    with pytest.raises(PlatformConfigError, match="realtime"):
        priority_from_name("realtime")
