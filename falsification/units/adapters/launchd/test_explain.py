"""What was made of a configuration, from captures."""

from __future__ import annotations

import msgspec

from duende.adapters.contract import Found, SettingReport
from duende.adapters.launchd.explain import explain
from duende.adapters.launchd.parse import parse_job
from duende.config.model import (
    DaemonConfig,
    LogDestination,
    LoggingConfig,
    ResourceConfig,
    RestartConfig,
    RestartPolicy,
    SecurityConfig,
)
from falsification.units.adapters.launchd.test_parse import NEWEST

TEXT = (NEWEST / "running.txt").read_text()


def reports(config: DaemonConfig, text: str = TEXT) -> dict[str, SettingReport]:
    """By key."""
    found = explain(config, parse_job(text))
    assert len({each.key for each in found}) == len(found)
    return {each.key: each for each in found}


def test_defaults() -> None:
    """A limit that was told reads back; those that launchd has no key for are ignored, with the reason."""
    found = reports(DaemonConfig(name="web", binary_path="/bin/sh"))
    assert found["resources.open_files_max"].outcome is Found.HONOURED
    assert found["shutdown_timeout"].outcome is Found.HONOURED
    for key in ("memory_bytes", "cpu_quota_percent", "pids_max"):
        assert found[f"resources.{key}"].outcome is Found.IGNORED
        assert found[f"resources.{key}"].why


def test_what_differs_says_so() -> None:
    """Another limit, a rounded deadline and a missing umask are not called honoured."""
    config = DaemonConfig(
        name="web",
        binary_path="/bin/sh",
        resources=ResourceConfig(open_files_max=77, nice=3),
        security=SecurityConfig(umask=0o77),
        shutdown_timeout=29.5,
        working_dir="/usr",
        user="web",
        logging=LoggingConfig(path="/elsewhere"),
    )
    found = reports(config)
    assert (found["resources.open_files_max"].outcome, found["resources.open_files_max"].found) == (
        Found.IGNORED,
        "1024",
    )
    assert found["shutdown_timeout"].outcome is Found.APPROXIMATED
    for key in ("security.umask", "resources.nice", "working_dir", "user", "logging.path"):
        assert found[key].outcome is Found.IGNORED, key


def test_what_reads_back() -> None:
    """Folder, output, umask, niceness and the domain's own user are honoured where launchd says so."""
    text = TEXT.replace("\tcpumon", "\tnice = 3\n\tcpumon")
    config = DaemonConfig(
        name="web",
        binary_path="/bin/sh",
        resources=ResourceConfig(nice=3),
        security=SecurityConfig(umask=0o22),
        working_dir="/",
        user="501",
        logging=LoggingConfig(path="/Users/u/Library/Logs/web.log"),
    )
    found = reports(config, text)
    for key in ("security.umask", "resources.nice", "working_dir", "user", "logging.path"):
        assert found[key].outcome is Found.HONOURED, key
    null = msgspec.structs.replace(config, logging=LoggingConfig(destination=LogDestination.NULL))
    assert reports(null, text)["logging.destination"].outcome is Found.IGNORED


def test_delegated_restarts() -> None:
    """KeepAlive reads back; its delay is near, as launchd counts from the start of a run."""
    restart = RestartConfig(
        policy=RestartPolicy.ALWAYS, initial_delay=10.0, multiplier=1.0, max_retries=10_000, delegate=True
    )
    config = DaemonConfig(name="web", binary_path="/bin/sh", restart=restart)
    found = reports(config)
    assert found["restart.delegate"].outcome is Found.HONOURED
    assert found["restart.initial_delay"].outcome is Found.APPROXIMATED
    plain = TEXT.replace("keepalive | ", "").replace("minimum runtime = 10", "minimum runtime = 5")
    found = reports(config, plain)
    assert found["restart.delegate"].outcome is Found.IGNORED
    assert found["restart.initial_delay"].outcome is Found.IGNORED
