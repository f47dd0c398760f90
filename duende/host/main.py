"""`duende run TARGET`: the command line, read by hand because every millisecond here is part of every
daemon's start.
"""

from __future__ import annotations

import gc
import os
import sys

from duende.host import exitcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.config.model import DaemonConfig
    from duende.daemon import Daemon

USAGE = """\
usage: duende run TARGET [--config FILE] [--name NAME] [--pid-file FILE] [--socket PATH]

Run one Daemon class in this process until it ends. TARGET is module:Class or path/file.py:Class.

  --config FILE      configuration (TOML); read again on HUP
  --name NAME        the daemon's name, without a configuration
  --pid-file FILE    write and lock a PID file; a second instance is refused
  --socket PATH      serve /health, /metrics and /status on a unix socket

exit codes: 0 graceful, 1 ExitReason.error, 64 usage, 66 TARGET unusable, 69 init failed, 70 run raised,
71 shutdown raised, 72 not ended within shutdown_timeout, 74 PID file or socket unusable, 75 already running,
76 a resource ran out or memory could not be locked, 77 policy violated, 78 configuration wrong,
128+n ended by signal n
"""
OPTIONS = frozenset(("--config", "--config-json", "--name", "--pid-file", "--socket"))


def main(argv: list[str]) -> int:
    """Run the daemon that *argv* names; the exit code."""
    # Nothing that imports make is garbage; looking for it costs a tenth of the start.
    gc.disable()
    from duende.errors import ConfigError
    from duende.host.lifecycle import hold_early_signals

    hold_early_signals()
    if argv[:1] in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return exitcodes.OK
    try:
        target, options = _read(argv)
    except ConfigError as error:
        sys.stderr.write(f"duende run: {error.problem}\n{USAGE.splitlines()[0]}\n")
        return exitcodes.USAGE
    try:
        config = _configuration(target, options)
    except ConfigError as error:
        sys.stderr.writelines(f"duende: {line}\n" for line in error.problems)
        return exitcodes.CONFIG
    return run_target(target or str(config.daemon), config, options)


def run_target(target: str, config: DaemonConfig, options: dict[str, str]) -> int:
    """Import *target* and run it; the exit code."""
    from duende.errors import DuendeError
    from duende.host.target import resolve

    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        # As `python -m` has it: the console script's own folder is of no use to anybody.
        sys.path.insert(0, here)
    try:
        found = resolve(target)
    except DuendeError as error:
        sys.stderr.write(f"duende: {error}\n")
        return exitcodes.TARGET
    if "" not in sys.argv[1:]:
        sys.argv = [target, *config.args]
    return run_daemon(
        found,
        config,
        pid_file=options.get("--pid-file"),
        socket=options.get("--socket"),
        config_source=options.get("--config"),
    )


def run_daemon(
    daemon: Daemon | type[Daemon], config: DaemonConfig | None = None, **options: str | None
) -> int:
    """Run *daemon* in an event loop of its own; the exit code."""
    import asyncio

    from duende.errors import DuendeError
    from duende.host.lifecycle import Host

    async def live() -> int:
        return (await Host.of(daemon, config, owns_process=True, **options).run()).code

    gc.freeze()  # modules live as long as the process: no collection need look at them again
    gc.enable()
    try:
        return asyncio.run(live())
    except DuendeError as error:
        sys.stderr.write(f"duende: {error}\n")
        return exitcodes.TARGET


def _read(argv: list[str]) -> tuple[str, dict[str, str]]:
    from duende.errors import ConfigError

    target, options = "", {}
    words = iter(argv)
    for word in words:
        if not word.startswith("--"):
            if target:
                raise ConfigError(f"one TARGET only, and {word!r} is a second")
            target = word
            continue
        name, equals, value = word.partition("=")
        if name not in OPTIONS:
            raise ConfigError(f"unknown option {name!r}")
        if not equals:
            value = next(words, "")
        if not value:
            raise ConfigError(f"{name} needs a value")
        options[name] = value
    if not target and "--config" not in options:
        raise ConfigError("TARGET is missing")
    return target, options


def _configuration(target: str, options: dict[str, str]) -> DaemonConfig:
    from duende.errors import ConfigError

    if "--config-json" in options:
        from duende.config.load import decode_json

        return decode_json(options["--config-json"])
    name = options.get("--name") or target.rpartition(":")[2].rpartition(".")[2].lower()
    if "--config" in options:
        from duende.config.load import load

        config = load(options["--config"], name=name or None, daemon=target or None)
        if not target and config.daemon is None:
            raise ConfigError(
                f"{options['--config']}: daemon: is not set, and no TARGET was given", key="daemon"
            )
        return config
    from duende.config.check import validate
    from duende.config.model import DaemonConfig

    config = DaemonConfig(name=name, daemon=target)
    validate(config)
    return config
