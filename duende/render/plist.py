"""A property list for launchd (launchd.plist(5)) that lives without duende's manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from duende.adapters.contract import SpawnRequest
from duende.adapters.launchd.ignored import ignored
from duende.adapters.launchd.render import TOKEN, encode
from duende.adapters.launchd.render import render as job_of
from duende.adapters.native.render import DEFAULT_PATH
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.render.bundle import PYTHON, bundle_of
from duende.render.written import Note, Rendered, head, refuse_ignored
from duende.restart import UNLIMITED

DOMAIN = "system"
"""A daemon of /Library/LaunchDaemons: the domain in which launchd changes users."""
STATE_DIR = "/usr/local/var"
"""Logs go below it, where nothing else is said."""
MANAGERS = frozenset({TOKEN, "DUENDE_SOCKET", "DUENDE_DAEMON_ID", "NOTIFY_SOCKET", "PYTHONPATH"})
"""Variables of the environment that belong to a start by the manager."""


def plist(config: DaemonConfig, *, python: str = PYTHON) -> Rendered:
    """The property list of *config*; a class in a file is run where the file lies.

    Raises:
        PlatformConfigError: something was asked for that launchd would not do, and `best_effort` is not set.
    """
    bundle = bundle_of(config, python=python, carry=False)
    notes = (*refuse_ignored(config, "plist", ignored(config)), *_notes(config))
    restart = msgspec.structs.replace(config.restart, delegate=True)
    program = (
        config if config.daemon is None else msgspec.structs.replace(config, daemon=None, binary_path=python)
    )
    request = SpawnRequest(daemon_id="", config=msgspec.structs.replace(program, restart=restart))
    job = job_of(
        request, DOMAIN, environ={"PATH": DEFAULT_PATH}, runtime_dir="", state_dir=STATE_DIR, start_id=""
    )
    job["Label"] = f"duende.{config.name}"
    job["ProgramArguments"] = _arguments(config, bundle.argv)
    job["Program"] = job["ProgramArguments"][0]
    job["RunAtLoad"] = True
    job["EnvironmentVariables"] = {
        key: value for key, value in job["EnvironmentVariables"].items() if key not in MANAGERS
    }
    return Rendered(filename=f"{job['Label']}.plist", text=_text(config, job, notes), notes=notes)


def _arguments(config: DaemonConfig, argv: tuple[str, ...]) -> list[str]:
    """The command line; a class has its configuration in it, so that the property list is all there is."""
    if config.daemon is None:
        return list(argv)
    encoded = msgspec.json.encode(config, order="deterministic").decode()
    return [*argv[:-2], "--config-json", encoded]


def _text(config: DaemonConfig, job: dict[str, Any], notes: tuple[Note, ...]) -> str:
    raw = encode(job)
    if not raw.startswith(b"<?xml"):
        from duende.errors import PlatformConfigError

        raise PlatformConfigError(
            f"cannot write {config.name!r} as an XML property list: it holds characters that XML 1.0 cannot say",
            remedy="leave control characters out of args and env",
        )
    opening, _, rest = raw.decode().partition("\n")
    comment = head(config, "plist", notes, mark="").replace("--", "- -").rstrip()
    return f"{opening}\n<!--\n{comment}\n-->\n{rest}"


def _notes(config: DaemonConfig) -> Iterator[Note]:
    restart = config.restart
    if restart.policy is not RestartPolicy.NEVER:
        if restart.multiplier != 1.0 and restart.initial_delay < restart.max_delay:
            yield Note("restart.multiplier", "launchd's delay is always the same (ThrottleInterval)")
        if 0 < restart.max_retries < UNLIMITED:
            yield Note("restart.max_retries", "launchd never gives up")
    if config.env_file is not None:
        yield Note("env_file", "launchd reads none")
    if config.logging.destination is LogDestination.FILE and config.logging.path is None:
        yield Note("logging.path", f"the output goes to {STATE_DIR}/logs/{config.name}.log")
    if readiness_of(config) is not ReadinessKind.NONE:
        yield Note("readiness.kind", "launchd knows of no readiness: it is started once it runs")
    for key, value in (
        ("health_check.exec", config.health_check.exec),
        ("health_check.port", config.health_check.port),
    ):
        if value:
            yield Note(key, "launchd runs no health checks")
