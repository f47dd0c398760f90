"""From a configuration to what the warden starts, and back from its answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from duende.adapters.contract import SpawnRequest
from duende.adapters.native import parse
from duende.adapters.native.render import Launch, Renderer, limits_of
from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    SecurityConfig,
    readiness_of,
)
from duende.errors import ConfigError, PlatformConfigError, SpawnError

HOST = {"PATH": "/usr/bin:/bin", "HOME": "/root", "SECRET": "s", "VIRTUAL_ENV": "/venv"}


def renderer() -> Renderer:
    """A renderer of a host with a secret in its environment."""
    return Renderer("/r", "/s", dict(HOST))


def rendered(**fields: Any) -> Launch:
    """One configuration, rendered."""
    return renderer().render(
        SpawnRequest(
            daemon_id="0123456789abcdef", config=DaemonConfig(name="n", **fields), env={"EXTRA": "1"}
        )
    )


def test_program_is_rendered_whole() -> None:
    """Arguments, environment, output and folder are all there, and the host's secrets are not."""
    found = rendered(binary_path="/bin/sleep", args=("a b", "$x %y"), env={"K": "v"}, working_dir="/tmp")
    daemon_id, path, argv, env, output = found.item
    assert (daemon_id, path, argv) == ("0123456789abcdef", "/bin/sleep", ["/bin/sleep", "a b", "$x %y"])
    assert env["DUENDE_DAEMON_ID"] == daemon_id
    assert env["EXTRA"] == "1"
    assert found.settings["env"]["K"] == "v"
    assert found.settings["env"]["PWD"] == found.settings["cwd"] == "/tmp"
    assert "SECRET" not in {**found.settings["env"], **env}
    assert output == "/r/0123456789abcdef.log"
    assert found.log == ("open", daemon_id, output, "/s/logs/n.log", 10 * 1024 * 1024, 5)
    assert found.key is None


def test_names_are_looked_up_in_path() -> None:
    """A bare name is found in PATH once; an unknown one is a clear error."""
    assert rendered(binary_path="sleep").item[1] in ("/usr/bin/sleep", "/bin/sleep")
    made = renderer()
    for _ in range(2):
        assert (
            made.render(SpawnRequest(daemon_id="i", config=DaemonConfig(name="n", binary_path="sleep")))
            .item[1]
            .endswith("sleep")
        )
    with pytest.raises(SpawnError, match="no such program in PATH"):
        rendered(binary_path="no-such-program-here")


def test_nothing_to_run_is_refused() -> None:
    """Without binary_path and daemon there is nothing to render."""
    with pytest.raises(ConfigError, match="neither"):
        rendered()


def test_python_daemon_goes_to_the_preloaded_interpreter() -> None:
    """A class is forked by default and run by exec when preload is off; both get the same configuration."""
    forked = rendered(daemon="m:C")
    assert forked.key is not None
    assert forked.key[0] == sys.executable
    assert forked.item[1]["target"] == "m:C"
    assert msgspec.json.decode(forked.item[1]["config"], type=DaemonConfig).daemon == "m:C"
    assert forked.item[3]["NOTIFY_SOCKET"] == "/r/notify.sock"
    executed = rendered(daemon="m:C", platform=PlatformSection(native={"preload": False, "python": "/py"}))
    assert executed.key is None
    assert executed.item[1] == "/py"
    assert "m:C" in executed.item[2]
    assert executed.item[3]["VIRTUAL_ENV"] == "/venv"
    made = renderer().render(
        SpawnRequest(
            daemon_id="i",
            config=DaemonConfig(name="n", daemon="m:C", platform=PlatformSection(native={"preload": False})),
            import_path="/code",
        )
    )
    assert made.item[3]["PYTHONPATH"] == "/code"


def test_settings_are_shared_by_instances() -> None:
    """Instances of one template give one settings value, so a thousand are one group."""
    made = renderer()
    base = DaemonConfig(name="a", binary_path="/bin/true")
    one, two = (
        made.render(SpawnRequest(daemon_id=name, config=msgspec.structs.replace(base, name=name)))
        for name in ("a", "b")
    )
    assert one.settings is two.settings


def test_settings_written_apart_are_one_batch() -> None:
    """Daemons configured one by one with the same values start together, and those with others do not."""
    own = renderer()

    def settings_of(number: int, memory: int) -> dict[str, Any]:
        config = DaemonConfig(
            name=f"n-{number}",
            binary_path="/bin/true",
            env={"K": "v"},
            resources=ResourceConfig(memory_bytes=memory),
        )
        return own.render(SpawnRequest(daemon_id=str(number), config=config)).settings

    found = [settings_of(number, 1 << 30) for number in range(5)]
    assert all(each is found[0] for each in found)
    assert settings_of(5, 1 << 29) is not found[0]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"restart": RestartConfig(delegate=True)}, "restart.delegate"),
        ({"health_check": HealthCheckConfig(watchdog=1.0)}, "health_check.watchdog"),
    ],
)
def test_what_nobody_would_enforce_is_refused(fields: dict[str, Any], key: str) -> None:
    """A limit that a plain process cannot be given is an error that names it, unless best_effort says otherwise."""
    with pytest.raises(PlatformConfigError, match=f"cannot apply {key} .* best_effort"):
        rendered(binary_path="/bin/true", **fields)
    assert rendered(binary_path="/bin/true", best_effort=True, **fields).settings


def test_users_and_groups_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names become ids with the user's own home; unknown ones are clear errors."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = rendered(
        binary_path="/bin/true",
        user="nobody",
        security=SecurityConfig(umask=0o27, no_new_privileges=True, supplementary_groups=("0",)),
    )
    assert found.settings["uid"] == 65534
    assert 0 in found.settings["groups"]
    assert found.settings["umask"] == 0o27
    assert found.settings["no_new_privs"]
    assert found.settings["env"]["USER"] == "nobody"
    assert rendered(binary_path="/bin/true", group="0").settings["gid"] == 0
    assert rendered(binary_path="/bin/true", user="65534").settings["uid"] == 65534
    for fields in ({"user": "no-such-user"}, {"group": "no-such-group"}, {"user": "4000000"}):
        with pytest.raises(SpawnError, match=r"no (user|group)"):
            rendered(binary_path="/bin/true", **fields)


def test_env_file_is_read_at_every_start(tmp_path: Path) -> None:
    """Variables of the file are taken, and those of the configuration win."""
    file = tmp_path / "env"
    file.write_text("A=file\nB=file\n")
    made = renderer()
    config = DaemonConfig(name="n", binary_path="/bin/true", env_file=str(file), env={"B": "config"})
    env = made.render(SpawnRequest(daemon_id="i", config=config)).settings["env"]
    assert (env["A"], env["B"]) == ("file", "config")
    file.write_text("A=changed\n")
    assert made.render(SpawnRequest(daemon_id="i", config=config)).settings["env"]["A"] == "changed"


def test_limits_and_outputs() -> None:
    """Limits become rlimits; output can be inherited or thrown away."""
    resources = ResourceConfig(
        open_files_max=7,
        core_bytes=0,
        stack_bytes=1 << 20,
        address_space_bytes=1 << 30,
        lock_memory=True,
        nice=5,
    )
    names = {name: soft for name, soft, _ in limits_of(DaemonConfig(name="n", resources=resources))}
    assert names == {
        "RLIMIT_NOFILE": 7, "RLIMIT_DATA": 512 << 20, "RLIMIT_CORE": 0, "RLIMIT_STACK": 1 << 20, "RLIMIT_AS": 1 << 30, "RLIMIT_MEMLOCK": -1,
    }  # fmt: skip
    assert rendered(binary_path="/bin/true", resources=resources).settings["nice"] == 5
    assert (
        rendered(binary_path="/bin/true", logging=LoggingConfig(destination=LogDestination.INHERIT)).item[4]
        == "inherit"
    )
    silent = rendered(binary_path="/bin/true", logging=LoggingConfig(destination=LogDestination.NULL))
    assert (silent.item[4], silent.log) == ("", None)
    assert readiness_of(DaemonConfig(name="n", binary_path="x")) is ReadinessKind.NONE


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("i", 0, 2, "exec", "/x"), ("cannot run '/x'", "No such file", "binary_path")),
        (("i", 0, 13, "exec", "/x"), ("Permission denied", "chmod")),
        (("i", 0, 2, "working_dir", "/w"), ("working_dir '/w'", "create it")),
        (("i", 0, 1, "user", "0"), ("become user", "only root")),
        (("i", 0, 11, "fork", ""), ("create a process", "limit")),
        (("i", 0, 2, "preload", "/py"), ("preloaded interpreter", "preload = false")),
        (("i", 0, 5, "strange", "about"), ("cannot strange 'about'",)),
    ],
)
def test_start_errors_explain(entry: tuple[Any, ...], words: tuple[str, ...]) -> None:
    """Each step that can fail gives an error with the value, the cause and what to do."""
    text = str(parse.spawn_error("n", entry))
    assert all(word in text for word in words), text


def test_certificates_are_read() -> None:
    """A certificate keeps every field of the warden's answer."""
    seen = parse.process_exit(("i", 5, None, 15, True, 1.5, False))
    assert (seen.signal, seen.core_dumped, seen.at) == (15, True, 1.5)
    found = parse.certificate(
        "n", ("stopped", 1, "i", [(0.0, "TERM to 5")], True, False, "why", ["6 x"], ["7 y (D)"], 2.0), seen
    )
    assert found.steps[0].what == "TERM to 5"
    assert (
        found.escalated,
        found.proven,
        found.stragglers,
        found.blocked_by,
        found.exit,
        found.duration,
    ) == (True, False, ("6 x",), ("7 y (D)",), seen, 2.0)
