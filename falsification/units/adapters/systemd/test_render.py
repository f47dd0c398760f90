"""From a configuration to unit properties, and what is refused before anything is started."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.contract import SpawnRequest
from duende.adapters.systemd.facts import Facts, version_number
from duende.adapters.systemd.ignored import refuse_ignored
from duende.adapters.systemd.render import (
    INFINITY,
    SPOILT,
    microseconds,
    render,
    restart_steps,
    unit_name,
    weight_of,
)
from duende.config.model import (
    DaemonConfig,
    HealthCheckConfig,
    LogDestination,
    LoggingConfig,
    ReadinessConfig,
    ReadinessKind,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from duende.errors import ConfigError, PlatformConfigError

NEW = Facts(
    version=252,
    unified=True,
    controllers=frozenset(("cpu", "memory", "pids", "io")),
    disks=("/dev/block/8:0",),
)
OLD_GROUPS = msgspec.structs.replace(NEW, unified=False)
DAEMON_ID = "01234567-89ab-4cde-8f01-23456789abcd"
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def rendered(facts: Facts = NEW, **fields: Any) -> dict[str, Any]:
    """The properties of a program with *fields*, by name."""
    config = DaemonConfig(name="web", **{"binary_path": "/bin/true", **fields})
    return {
        name: value
        for name, _, value in render(
            SpawnRequest(daemon_id=DAEMON_ID, config=config), facts, runtime_dir="/run/d"
        )
    }


def as_systemd_expands(argument: str) -> str:
    """What replace_env_argv() of systemd's env-util.c makes of an argument in which every `$` is doubled."""
    assert not re.search(r"(?<!\$)\$(?:\$\$)*(?!\$)", argument), "a lone $ would be expanded"
    return argument.replace("$$", "$")


@given(st.lists(TEXT, max_size=6))
def test_arguments_arrive_as_they_are(args: list[str]) -> None:
    """Every argument is what systemd makes of the rendered one, in order, whatever it contains."""
    ((path, argv, ignore_failure),) = rendered(args=tuple(args))["ExecStart"]
    assert (path, ignore_failure) == ("/bin/true", False)
    assert [as_systemd_expands(argument) for argument in argv] == ["/bin/true", *args]


@given(TEXT)
def test_a_description_is_one_line_and_cannot_become_a_setting(text: str) -> None:
    """No control character and no last backslash is left of a description, and every word of it is."""
    found = rendered(description=text)["Description"]
    assert found
    assert found.isprintable()
    assert not found.endswith("\\")
    words = "".join(char if char.isprintable() else " " for char in text).split()
    assert found.split()[: len(words)] == words or not words


def test_a_delegated_restart_refuses_arguments_that_systemd_spoils() -> None:
    """Arguments that a daemon-reload would change are refused where systemd itself would use them again."""
    delegated = RestartConfig(delegate=True, multiplier=1.0)
    for char in SPOILT:
        with pytest.raises(PlatformConfigError, match="spoils"):
            rendered(args=(f"a{char}b",), restart=delegated)
    assert rendered(args=("a b\n\"'\\%",), restart=delegated)["ExecStart"][0][1][1] == "a b\n\"'\\%"


@given(TEXT)
def test_a_daemon_class_gets_its_settings_through_a_reload(text: str) -> None:
    """The configuration that travels to a Daemon class has no character that systemd spoils, and decodes to the same."""
    found = rendered(
        binary_path=None,
        daemon="shop:Cart",
        settings={"text": text},
        restart=RestartConfig(delegate=True, multiplier=1.0),
    )["ExecStart"][0][1]
    assert not any(set(argument) & SPOILT for argument in found)
    assert msgspec.json.decode(found[-1])["settings"] == {"text": text}


def test_limits() -> None:
    """Each limit becomes the property that this host's cgroup version has."""
    resources = ResourceConfig(
        memory_bytes=64,
        memory_swap_bytes=100,
        cpu_quota_percent=50.0,
        cpu_shares=512,
        pids_max=7,
        io_read_bps=9,
        nice=5,
    )
    found = rendered(resources=resources)
    assert (found["MemoryMax"], found["MemorySwapMax"], found["CPUQuotaPerSecUSec"]) == (64, 36, 500_000)
    assert (found["CPUWeight"], found["TasksMax"], found["Nice"]) == (50, 7, 5)
    assert found["IOReadBandwidthMax"] == [["/dev/block/8:0", 9]]
    older = rendered(OLD_GROUPS, resources=resources)
    assert older["CPUShares"] == 512
    assert not {"CPUWeight", "MemorySwapMax"} & set(older)


def test_capabilities() -> None:
    """Dropping ALL leaves those that are added and the one that locking memory needs."""
    security = SecurityConfig(drop_capabilities=("ALL",), add_capabilities=("NET_BIND_SERVICE",))
    found = rendered(security=security, resources=ResourceConfig(lock_memory=True))
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == 1 << 10 | 1 << 14
    assert found["LimitMEMLOCK"] == INFINITY
    only = rendered(security=SecurityConfig(drop_capabilities=("CHOWN",)))
    assert not only["CapabilityBoundingSet"] & 1
    assert only["CapabilityBoundingSet"] & 2
    assert "AmbientCapabilities" not in only


def test_readiness_watchdog_and_output() -> None:
    """Readiness by notification, the watchdog and each destination of output have their properties."""
    plain = rendered()
    assert (plain["Type"], plain["NotifyAccess"], plain["StandardOutput"]) == ("exec", "none", "journal")
    notify = rendered(
        readiness=ReadinessConfig(kind=ReadinessKind.NOTIFY, timeout=3.0),
        health_check=HealthCheckConfig(watchdog=1.5),
        logging=LoggingConfig(path="/var/log/web"),
    )
    assert (notify["Type"], notify["NotifyAccess"], notify["WatchdogUSec"]) == ("notify", "main", 1_500_000)
    assert notify["TimeoutStartUSec"] == 5_000_000
    assert notify["StandardOutputFileToAppend"] == "/var/log/web"
    assert rendered(logging=LoggingConfig(destination=LogDestination.NULL))["StandardError"] == "null"
    assert (
        rendered(logging=LoggingConfig(destination=LogDestination.INHERIT))["StandardErrorFileDescriptor"]
        == 2
    )


def test_restarts() -> None:
    """The manager restarts unless it is delegated; then systemd has policy, delay and limit, with steps from 254 on."""
    assert rendered()["Restart"] == "no"
    assert rendered()["RemainAfterExit"] is True
    found = rendered(
        restart=RestartConfig(
            policy=RestartPolicy.ALWAYS, delegate=True, initial_delay=0.5, max_retries=3, window=60.0
        )
    )
    assert (found["Restart"], found["RestartUSec"], found["StartLimitBurst"]) == ("always", 500_000, 4)
    assert found["RemainAfterExit"] is False
    assert "RestartSteps" not in found
    newer = rendered(
        msgspec.structs.replace(NEW, version=254),
        restart=RestartConfig(delegate=True, initial_delay=1.0, max_delay=8.0),
    )
    assert (newer["RestartSteps"], newer["RestartMaxDelayUSec"]) == (3, 8_000_000)


@pytest.mark.parametrize(
    ("fields", "facts", "key"),
    [
        ({"restart": RestartConfig(delegate=True)}, NEW, "restart.multiplier"),
        ({"restart": RestartConfig(delegate=True, multiplier=1.0, jitter=0.1)}, NEW, "restart.jitter"),
        ({"resources": ResourceConfig(memory_swap_bytes=600 << 20)}, OLD_GROUPS, "memory_swap_bytes"),
        (
            {"resources": ResourceConfig(pids_max=3)},
            msgspec.structs.replace(NEW, controllers=frozenset()),
            "pids_max",
        ),
        ({"resources": ResourceConfig(io_read_bps=3)}, msgspec.structs.replace(NEW, disks=()), "io_read_bps"),
        ({"logging": LoggingConfig(backups=3)}, NEW, "logging.backups"),
        (
            {"security": SecurityConfig(private_tmp=True)},
            msgspec.structs.replace(NEW, user=True),
            "private_tmp",
        ),
        ({"user": "nobody"}, msgspec.structs.replace(NEW, user=True, uid=1000), "user"),
    ],
)
def test_what_would_be_ignored_is_refused(fields: dict[str, Any], facts: Facts, key: str) -> None:
    """A setting that this systemd would leave without effect is refused by name, and passes by best_effort where that may be."""
    config = DaemonConfig(name="web", binary_path="/bin/true", **fields)
    with pytest.raises(PlatformConfigError, match=re.escape(key)):
        refuse_ignored(config, facts)
    if key != "user":
        refuse_ignored(msgspec.structs.replace(config, best_effort=True), facts)


def test_defaults_ask_for_nothing() -> None:
    """A configuration of defaults is refused nowhere."""
    for facts in (
        NEW,
        OLD_GROUPS,
        msgspec.structs.replace(NEW, user=True, controllers=frozenset(), disks=()),
    ):
        refuse_ignored(DaemonConfig(name="web", binary_path="/bin/true"), facts)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"binary_path": None}, ConfigError),
        ({"env": {"a-b": "1"}}, PlatformConfigError),
        ({"working_dir": "/x\\"}, PlatformConfigError),
    ],
)
def test_what_systemd_cannot_take(fields: dict[str, Any], error: type[Exception]) -> None:
    """What systemd has no form for is refused before it is asked."""
    with pytest.raises(error):
        rendered(**fields)


def test_numbers() -> None:
    """Versions, times, weights, steps and names are what systemd's manuals say."""
    assert [version_number(text) for text in ("252.39-1~deb12u2", "v256", "255 (255.4-1)", "?")] == [
        252,
        256,
        255,
        0,
    ]
    assert (microseconds(1.5), microseconds(1e300)) == (1_500_000, INFINITY)
    assert [weight_of(shares) for shares in (2, 1024, 2048, 262_144)] == [1, 100, 200, 10_000]
    assert restart_steps(1.0, 2.0, 300.0) == 9
    assert unit_name("web", DAEMON_ID) == "duende-web-01234567.service"
