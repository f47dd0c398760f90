"""From configurations to property lists."""

from __future__ import annotations

import plistlib
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.contract import SpawnRequest
from duende.adapters.launchd import render
from duende.adapters.launchd.ignored import IGNORED, refuse_ignored
from duende.adapters.launchd.render import INFINITY, TOKEN
from duende.config.model import (
    DaemonConfig,
    LogDestination,
    LoggingConfig,
    PlatformSection,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from duende.errors import ConfigError, PlatformConfigError

ID = "0b7a3c52-0000-4000-8000-000000000001"
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/Users/u", "SECRET": "no", "PYTHONPATH": "/p"}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
EACH = RestartConfig(
    policy=RestartPolicy.ALWAYS, initial_delay=3.0, multiplier=1.0, max_retries=10_000, delegate=True
)


def built(domain: str = "system", import_path: str = "", **fields: Any) -> dict[str, Any]:
    """The property list of a configuration."""
    config = DaemonConfig(**{"name": "web", "binary_path": "/bin/sh", **fields})
    return render.render(
        SpawnRequest(daemon_id=ID, config=config, import_path=import_path),
        domain,
        environ=ENVIRON,
        runtime_dir="/r",
        state_dir="/s",
        start_id="t",
    )


def test_a_plain_daemon() -> None:
    """Label, program, output, deadline and limits are there; the manager restarts it, so launchd is told not to."""
    job = built(args=("-c", "true"))
    assert job["Label"] == "duende.web.0b7a3c52"
    assert (job["Program"], job["ProgramArguments"]) == ("/bin/sh", ["/bin/sh", "-c", "true"])
    assert job["StandardOutPath"] == job["StandardErrorPath"] == "/s/logs/web.log"
    assert (job["ExitTimeOut"], job["WorkingDirectory"]) == (30, "/")
    assert (job["KeepAlive"], job["RunAtLoad"]) == (False, False)
    assert "ThrottleInterval" not in job
    assert job["SoftResourceLimits"] == job["HardResourceLimits"] == {"NumberOfFiles": 1024}
    env = job["EnvironmentVariables"]
    assert env[TOKEN] == "t"
    assert (env["DUENDE_DAEMON_ID"], env["HOME"], env["PWD"]) == (ID, "/Users/u", "/")
    assert not {"SECRET", "PYTHONPATH", "NOTIFY_SOCKET"} & set(env)


@given(argument=TEXT, value=TEXT, key=TEXT.filter(bool))
def test_any_text_arrives_unharmed(argument: str, value: str, key: str) -> None:
    """Every text that execve(2) can take reads back from the property list as it was written."""
    job = built(args=(argument,), env={key: value, "PATH": "/bin"})
    back = plistlib.loads(render.encode(job))
    assert back == job
    assert back["ProgramArguments"][1] == argument
    if key not in ("PWD", TOKEN, "PATH") and not key.startswith("DUENDE_"):
        assert back["EnvironmentVariables"][key] == value


def test_awkward_text_is_xml_where_it_can_be() -> None:
    """Markup and quotes stay readable XML; a carriage return, which XML reads as a line end, makes it binary."""
    assert render.encode(built(args=("</string> & <key>\"'",))).startswith(b"<?xml")
    assert render.encode(built(args=("\r",))).startswith(b"bplist00")
    with pytest.raises(PlatformConfigError, match="surrogate"):
        render.encode(built(args=("\ud800",)))
    with pytest.raises(PlatformConfigError, match="NUL"):
        built(args=("a\0b",))
    with pytest.raises(PlatformConfigError, match="NUL"):
        built(env={"A": "a\0b"})


@pytest.mark.parametrize(
    ("policy", "keep"),
    [
        (RestartPolicy.NEVER, False),
        (RestartPolicy.ON_FAILURE, {"SuccessfulExit": False}),
        (RestartPolicy.ALWAYS, True),
        (RestartPolicy.UNLESS_STOPPED, True),
    ],
)
def test_keep_alive_by_policy(policy: RestartPolicy, keep: object) -> None:
    """Delegated, each policy has its KeepAlive, with the delay as ThrottleInterval; not delegated, none has."""
    restart = msgspec.structs.replace(EACH, policy=policy)
    job = built(restart=restart)
    assert job["KeepAlive"] == keep
    assert job["RunAtLoad"] is (policy is not RestartPolicy.NEVER)
    assert job.get("ThrottleInterval") == (None if policy is RestartPolicy.NEVER else 3)
    assert built(restart=msgspec.structs.replace(restart, delegate=False))["KeepAlive"] is False


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ({"max_retries": 10}, "restart.max_retries"),
        ({"jitter": 0.5}, "restart.jitter"),
        ({"multiplier": 2.0}, "restart.multiplier"),
        ({"initial_delay": 0.5}, "restart.initial_delay"),
        ({"initial_delay": 1.5}, "restart.initial_delay"),
    ],
)
def test_what_launchd_would_not_do_is_not_delegated(field: dict[str, Any], key: str) -> None:
    """A policy that KeepAlive is not exactly is refused with the key; best_effort lets it pass."""
    restart = msgspec.structs.replace(EACH, **field)
    with pytest.raises(PlatformConfigError, match=rf"{key}.*delegate = false.*best_effort"):
        refuse_ignored(DaemonConfig(name="web", binary_path="/x", restart=restart))
    refuse_ignored(DaemonConfig(name="web", binary_path="/x", restart=restart, best_effort=True))
    refuse_ignored(
        DaemonConfig(
            name="web", binary_path="/x", restart=msgspec.structs.replace(restart, policy=RestartPolicy.NEVER)
        )
    )


def test_limits_and_the_rest() -> None:
    """Every limit that launchd has a key for is told, soft and hard; umask, niceness, type and output as well."""
    resources = ResourceConfig(
        open_files_max=77, core_bytes=0, stack_bytes=8 << 20, lock_memory=True, memory_bytes=9 << 20, nice=5
    )
    job = built(
        resources=resources,
        security=SecurityConfig(umask=0o27),
        logging=LoggingConfig(destination=LogDestination.NULL),
        platform=PlatformSection(launchd={"process_type": "Background"}),
        shutdown_timeout=2.5,
        working_dir="/usr",
    )
    told = {"NumberOfFiles": 77, "Core": 0, "Stack": 8 << 20, "MemoryLock": INFINITY, "Data": 9 << 20}
    assert job["SoftResourceLimits"] == job["HardResourceLimits"] == told
    assert (job["Umask"], job["Nice"], job["ProcessType"]) == (0o27, 5, "Background")
    assert (job["StandardOutPath"], job["ExitTimeOut"], job["WorkingDirectory"]) == ("/dev/null", 3, "/usr")
    assert built(logging=LoggingConfig(path="/var/log/x"))["StandardErrorPath"] == "/var/log/x"
    assert built(shutdown_timeout=0.1)["ExitTimeOut"] == 1


def test_users_are_changed_in_the_system_domain_only() -> None:
    """In a user's domain another user or group is an error that says so; the domain's own user is not another."""
    job = built(user="nobody", group="nogroup")
    assert (job["UserName"], job["GroupName"]) == ("nobody", "nogroup")
    assert "HOME" not in job["EnvironmentVariables"]
    assert "UserName" not in built("gui/501", user="501")
    for fields in ({"user": "nobody"}, {"group": "nogroup"}):
        with pytest.raises(PlatformConfigError, match="neither user nor group"):
            built("gui/501", **fields)


def test_a_daemon_class() -> None:
    """It runs as itself by this interpreter, with its configuration, its sockets and its import path."""
    job = built(binary_path=None, daemon="m:C", import_path="/i", settings={"a": "</string>"})
    assert job["Program"] == sys.executable
    words = job["ProgramArguments"]
    assert words[-3] == "m:C"
    assert msgspec.json.decode(words[-1], type=DaemonConfig).settings == {"a": "</string>"}
    env = job["EnvironmentVariables"]
    assert (env["DUENDE_SOCKET"], env["NOTIFY_SOCKET"]) == (
        "/r/0b7a3c52-0000.sock",
        "/r/0b7a3c52-0000.notify",
    )
    assert env["PYTHONPATH"] == "/i:/p"
    other = PlatformSection(launchd={"python": "/opt/python"})
    assert built(binary_path=None, daemon="m:C", platform=other)["Program"] == "/opt/python"
    with pytest.raises(ConfigError, match="neither binary_path nor daemon"):
        built(binary_path=None)


def test_programs_are_found_by_the_daemons_own_path() -> None:
    """A bare name is looked for in the PATH it will have, and argv keeps it as it was written."""
    job = built(binary_path="sh", env={"PATH": "/nowhere:/bin"})
    assert (job["Program"], job["ProgramArguments"]) == ("/bin/sh", ["sh"])
    assert built(binary_path="no-such-program")["Program"] == "no-such-program"
    notified = built(readiness=ReadinessConfig(kind=ReadinessKind.NOTIFY))
    assert "NOTIFY_SOCKET" in notified["EnvironmentVariables"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"colour": "red"}, "colour is not known.*command, domain"),
        ({"process_type": "Slow"}, "process_type must be one of"),
        ({"command": [1]}, "command must be"),
        ({"domain": ""}, "domain must be"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    """Unknown keys of [platform.launchd] and values of no use are refused with what is known."""
    config = DaemonConfig(name="web", binary_path="/x", platform=PlatformSection(launchd=options))
    with pytest.raises(PlatformConfigError, match=problem):
        render.check_options(config)


def test_everything_ignored_is_refused_when_asked_for() -> None:
    """Each key that launchd has nothing for names itself and the way out."""
    asked = DaemonConfig(
        name="web",
        binary_path="/x",
        resources=ResourceConfig(
            memory_bytes=1 << 20,
            memory_swap_bytes=3 << 20,
            cpu_quota_percent=50,
            cpu_shares=2,
            io_read_bps=1,
            io_write_bps=1,
            network_bps=1,
            disk_bytes=1,
            disk_folder="/tmp",
            pids_max=3,
            address_space_bytes=1 << 30,
        ),
        security=SecurityConfig(
            no_new_privileges=True,
            supplementary_groups=("wheel",),
            read_only_root=True,
            writable_paths=("/tmp",),
            private_tmp=True,
            drop_capabilities=("ALL",),
            add_capabilities=("CHOWN",),
            seccomp="service",
            seccomp_deny=("mount",),
            network=False,
            network_namespace="/run/netns/a",
            readable_paths=("/usr",),
        ),
    )
    for key in IGNORED:
        section, _, name = key.partition(".")
        if section == "health_check":
            continue
        alone = msgspec.structs.replace(
            DaemonConfig(name="web", binary_path="/x"),
            **{
                section: msgspec.structs.replace(
                    getattr(DaemonConfig(name="x"), section), **{name: getattr(getattr(asked, section), name)}
                )
            },
        )
        with pytest.raises(PlatformConfigError, match=rf"cannot apply {key} = .*best_effort"):
            refuse_ignored(alone)
    inherit = DaemonConfig(
        name="web", binary_path="/x", logging=LoggingConfig(destination=LogDestination.INHERIT)
    )
    with pytest.raises(PlatformConfigError, match="no output to inherit"):
        refuse_ignored(inherit)
    rotated = DaemonConfig(name="web", binary_path="/x", logging=LoggingConfig(max_bytes=1000))
    with pytest.raises(PlatformConfigError, match="never rotates"):
        refuse_ignored(rotated)
