"""What launchd made of a configuration, read back from `launchctl print`, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from duende.adapters.contract import Found, SettingReport
from duende.adapters.launchd.ignored import delegated, ignored
from duende.adapters.launchd.parse import Job
from duende.adapters.launchd.render import LIMITS, exit_timeout, limits_of, throttle
from duende.adapters.native.ignored import asked, value_of
from duende.config.model import DaemonConfig, LogDestination

KEYS = {
    "NumberOfFiles": "resources.open_files_max",
    "Core": "resources.core_bytes",
    "Stack": "resources.stack_bytes",
    "MemoryLock": "resources.lock_memory",
}


def explain(config: DaemonConfig, job: Job) -> list[SettingReport]:
    """Every setting beside what was read back."""
    return [
        *_limits(config, job),
        *_lifecycle(config, job),
        *_restart(config, job),
        *_identity(config, job),
        *_output(config, job),
        *_left_out(config, job),
    ]


def _report(key: str, wanted: object, found: object, outcome: Found, why: str) -> SettingReport:
    return SettingReport(key=key, wanted=str(wanted), found=str(found), outcome=outcome, why=why)


def _same(key: str, wanted: object, found: str | None, why: str) -> SettingReport:
    outcome = Found.HONOURED if found == str(wanted) else Found.IGNORED
    return _report(key, wanted, found or "", outcome, f"{why}, in launchctl print")


def _limits(config: DaemonConfig, job: Job) -> Iterator[SettingReport]:
    for name, wanted in limits_of(config).items():
        if name in KEYS:
            word = f"{LIMITS[name]} (soft)"
            found = job.limits.get(word)
            yield _same(
                KEYS[name], wanted, None if found is None else str(found), f"{word} of its resource limits"
            )


def _lifecycle(config: DaemonConfig, job: Job) -> Iterator[SettingReport]:
    found, told = job.settings.get("exit timeout", ""), exit_timeout(config)
    outcome = (
        Found.IGNORED
        if found != str(told)
        else Found.HONOURED
        if told == config.shutdown_timeout
        else Found.APPROXIMATED
    )
    yield _report(
        "shutdown_timeout",
        config.shutdown_timeout,
        found,
        outcome,
        "exit timeout, in launchctl print: whole seconds",
    )


def _restart(config: DaemonConfig, job: Job) -> Iterator[SettingReport]:
    if not delegated(config):
        return
    kept = job.properties & {"keepalive"}
    yield _report(
        "restart.delegate",
        config.restart.policy.value,
        " ".join(sorted(job.properties)),
        Found.HONOURED if kept else Found.IGNORED,
        "properties, in launchctl print",
    )
    found = job.settings.get("minimum runtime", "")
    outcome = Found.APPROXIMATED if found == str(throttle(config)) else Found.IGNORED
    why = "minimum runtime, in launchctl print: seconds from the start of one run to the next, and no wait after a longer run"
    yield _report("restart.initial_delay", config.restart.initial_delay, found, outcome, why)


def _identity(config: DaemonConfig, job: Job) -> Iterator[SettingReport]:
    for key, wanted, name in (("user", config.user, "username"), ("group", config.group, "group")):
        if wanted is not None:
            domain = job.settings.get("domain", "").partition(" ")[0]
            own = key == "user" and domain.rpartition("/")[2] == wanted
            yield _same(key, wanted, wanted if own else job.settings.get(name), "domain" if own else name)
    if config.working_dir is not None:
        line = f"\tworking directory = {config.working_dir}"
        yield _same(
            "working_dir",
            config.working_dir,
            config.working_dir if line in job.lines else None,
            "working directory",
        )
    if config.security.umask is not None:
        yield _same("security.umask", f"{config.security.umask:o}", job.settings.get("umask"), "umask")
    if config.resources.nice is not None:
        yield _same("resources.nice", config.resources.nice, job.later.get("nice"), "nice")


def _output(config: DaemonConfig, job: Job) -> Iterator[SettingReport]:
    logging = config.logging
    if logging.destination is LogDestination.FILE and logging.path is not None:
        there = f"\tstdout path = {logging.path}" in job.lines
        yield _same("logging.path", logging.path, logging.path if there else None, "stdout path")
    elif logging.destination is LogDestination.NULL:
        there = "\tstdout path = /dev/null" in job.lines
        yield _same("logging.destination", "null", "null" if there else None, "stdout path")


def _left_out(config: DaemonConfig, job: Job) -> Iterator[SettingReport]:
    for key, why in ignored(config):
        value = value_of(config, key)
        if asked(config, key) or (key.startswith("resources.") and value):
            found = job.limits.get("data (soft)", "") if key == "resources.memory_bytes" else ""
            yield _report(key, value, found, Found.IGNORED, why)
