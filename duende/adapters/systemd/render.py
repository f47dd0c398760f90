"""From a configuration to the properties of a transient unit: pure. systemd.exec(5), systemd.service(5), systemd.kill(5) and
systemd.resource-control(5) say what each does, org.freedesktop.systemd1(5) which type it has on D-Bus.

Arguments travel as an array of strings and are never quoted or split here. systemd expands `$` in them, so it is doubled; the specifiers
of unit files (`%`) are not looked for in what comes over D-Bus. (ExecStartEx, whose `no-env-expand` would do without doubling, is written
to the transient unit's file under that very name by systemd 252, which no daemon-reload can read again.)

That file is also why some text is refused or made harmless: systemd writes a Description with its newlines as they are, so that at the next
daemon-reload it would become settings of its own, and puts a backslash before `$`, `;` and a backtick of an argument that is still there when
the file is read again. Only a unit that systemd restarts by itself ever uses it (seen with 252.39).
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import msgspec

from duende.adapters.contract import SpawnRequest
from duende.adapters.native.render import PYTHON_INHERITED, RUN
from duende.adapters.native.warden.start import ROOT
from duende.adapters.systemd.confining import confining
from duende.adapters.systemd.facts import GRADUAL_RESTARTS, Facts
from duende.adapters.systemd.ignored import grows
from duende.config.capabilities import CAPABILITIES
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, RestartPolicy, readiness_of
from duende.errors import ConfigError, PlatformConfigError
from duende.restart import UNLIMITED

Property = tuple[str, str, Any]
"""Name, D-Bus signature, value."""
INFINITY = 2**64 - 1
"""No limit, in systemd's sizes and times."""
EXEC_TIMEOUT = 30.0
"""Seconds from fork to exec (Type=exec); a program on a slow network file system takes a few of them at most."""
READY_MARGIN = 2.0
"""Seconds by which systemd's own deadline for READY=1 comes after the manager's, so that one of the two speaks, and the same always."""
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""What a daemon takes over from the environment here; HOME, USER and the like are those that systemd sets for its user."""
OPTIONS: dict[str, tuple[type, str]] = {
    "python": (str, "a path"),
    "slice": (str, 'a name like "web.slice"'),
}
"""Keys of `[platform.systemd]`: another interpreter for `Daemon` classes, the slice the unit goes into (systemd.slice(5))."""
DEFAULT_WEIGHT = 100
DEFAULT_SHARES = 1024
SPOILT = frozenset("$;`")
"""Characters of arguments that do not survive systemd's own writing and reading of a transient unit."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unit_name(name: str, daemon_id: str) -> str:
    """The unit of a daemon: the same for every start of the same daemon, so that systemd itself refuses a second instance."""
    return f"duende-{name}-{daemon_id[:8]}.service"


def render(
    request: SpawnRequest,
    facts: Facts,
    *,
    runtime_dir: str,
    env_file: dict[str, str] | None = None,
) -> list[Property]:
    """The properties for StartTransientUnit. Properties of type `h` have the number of a descriptor of this process.

    Raises:
        ConfigError: nothing says what to run.
        PlatformConfigError: systemd cannot take a key.
    """
    config = request.config
    _check(config)
    env = _environment(request, facts, env_file or {}, runtime_dir)
    found: list[Property] = [
        ("Description", "s", description_of(config)),
        (
            "AddRef",
            "b",
            True,
        ),  # kept until we let go of it: neither exit code nor result can be collected before we have read them
        ("CPUAccounting", "b", True),  # without it nobody could say what a daemon uses
        ("SyslogIdentifier", "s", config.name),
        ("ExecStart", "a(sasb)", [_command(config)]),
        ("Environment", "as", [f"{key}={value}" for key, value in env.items()]),
        ("WorkingDirectory", "s", config.working_dir or "/"),
        *settings_of(config, facts, runtime_dir),
    ]
    wanted_slice = config.platform.systemd.get("slice")
    if wanted_slice:
        found.append(("Slice", "s", wanted_slice))
    return found


def settings_of(config: DaemonConfig, facts: Facts, runtime_dir: str) -> list[Property]:
    """The properties that do not depend on what is run: life cycle, restarts, limits, user, hardening, output."""
    return [
        *_lifecycle(config),
        *_restart(config, facts),
        *limits_of(config, facts),
        *_identity(config),
        *_hardening(config, facts, runtime_dir),
        *_output(config),
    ]


def microseconds(seconds: float) -> int:
    """Seconds as systemd has them; what it cannot count is for ever."""
    return min(round(seconds * 1e6), INFINITY) if seconds < INFINITY / 1e6 else INFINITY


def _check(config: DaemonConfig) -> None:
    for key, value in config.platform.systemd.items():
        known = OPTIONS.get(key)
        if known is None:
            raise PlatformConfigError(
                f"platform.systemd.{key} is not known", remedy=f"known: {', '.join(OPTIONS)}"
            )
        if not isinstance(value, known[0]):
            raise PlatformConfigError(f"platform.systemd.{key} must be {known[1]}, not {value!r}")
    for key, path in (("working_dir", config.working_dir), ("logging.path", config.logging.path)):
        if path is not None and path.endswith("\\"):
            raise PlatformConfigError(
                f"systemd cannot take {key} = {path!r}: a backslash at the end joins two lines of a unit"
            )
    for name in config.env:
        if not _NAME.fullmatch(name):
            raise PlatformConfigError(
                f"cannot give env {name!r} to {config.name!r}: systemd takes names of letters, digits and '_' only (environ(7))",
                remedy="rename the variable, or use the native adapter",
            )


def description_of(config: DaemonConfig) -> str:
    """One line without control characters, which cannot become a setting; a last backslash would take in the next line (systemd.syntax(7))."""
    text = " ".join("".join(char if char.isprintable() else " " for char in config.description).split())
    text = text or f"duende daemon {config.name}"
    return f"{text} ." if text.endswith("\\") else text


def _command(config: DaemonConfig) -> list[Any]:
    path, argv = _program(config)
    if (
        config.restart.delegate
        and (spoilt := next((each for each in argv if set(each) & SPOILT), None)) is not None
    ):
        raise PlatformConfigError(
            f"cannot delegate restarts of {config.name!r} to systemd: it spoils the argument {spoilt!r} at the next daemon-reload",
            remedy="set restart.delegate = false, or leave $, ; and ` to a script or to env",
        )
    return [path, [argument.replace("$", "$$") for argument in argv], False]


def _program(config: DaemonConfig) -> tuple[str, list[str]]:
    if config.daemon is not None:
        python = python_of(config)
        encoded = msgspec.json.encode(config).decode()
        for char in SPOILT:  # outside of its strings JSON has none of them
            encoded = encoded.replace(char, f"\\u{ord(char):04x}")
        return python, [python, "-c", RUN.replace("; ", "\n"), ROOT, config.daemon, "--config-json", encoded]
    program = config.binary_path
    if not program:
        raise ConfigError(
            f"cannot start {config.name!r}: neither binary_path nor daemon is set",
            remedy="set one of the two",
        )
    # A bare name is looked for by systemd itself, where the daemon will live; a relative path means something here only.
    path = os.path.abspath(program) if "/" in program and not program.startswith("/") else program
    return path, [program, *config.args]


def python_of(config: DaemonConfig) -> str:
    """The interpreter that runs a `Daemon` class."""
    return str(config.platform.systemd.get("python", sys.executable))


def _environment(
    request: SpawnRequest, facts: Facts, env_file: dict[str, str], runtime_dir: str
) -> dict[str, str]:
    config = request.config
    env = {key: facts.environ[key] for key in INHERITED if key in facts.environ}
    if config.daemon is not None:
        env |= {key: facts.environ[key] for key in PYTHON_INHERITED if key in facts.environ}
        env["PYTHONUNBUFFERED"] = "1"
        env["DUENDE_SOCKET"] = f"{runtime_dir}/{request.daemon_id[:13]}.sock"
        if request.import_path:
            env["PYTHONPATH"] = os.pathsep.join(
                filter(None, (request.import_path, env.get("PYTHONPATH", "")))
            )
    env |= env_file
    env |= config.env
    env["PWD"] = config.working_dir or "/"
    return {**env, "DUENDE_DAEMON_ID": request.daemon_id, "DUENDE_DAEMON_NAME": config.name, **request.env}


def notifies(config: DaemonConfig) -> bool:
    """Whether the daemon may talk to systemd (sd_notify(3)): for readiness, for the watchdog, or for what a `Daemon` says of itself."""
    return (
        readiness_of(config) is ReadinessKind.NOTIFY
        or config.health_check.watchdog > 0
        or config.daemon is not None
    )


def _lifecycle(config: DaemonConfig) -> list[Property]:
    ready = readiness_of(config) is ReadinessKind.NOTIFY
    start = (
        config.readiness.timeout + (0.0 if config.restart.delegate else READY_MARGIN)
        if ready
        else EXEC_TIMEOUT
    )
    found: list[Property] = [
        # exec: the start has succeeded once the program was executed, and failed when it could not be. simple would not tell.
        ("Type", "s", "notify" if ready else "exec"),
        ("TimeoutStartUSec", "t", microseconds(start)),
        ("TimeoutStopUSec", "t", microseconds(config.shutdown_timeout)),
        ("KillMode", "s", "control-group"),
        ("NotifyAccess", "s", "main" if notifies(config) else "none"),
    ]
    if config.health_check.watchdog > 0:
        found.append(("WatchdogUSec", "t", microseconds(config.health_check.watchdog)))
    return found


RESTARTS = {
    RestartPolicy.NEVER: "no",
    RestartPolicy.ON_FAILURE: "on-failure",
    RestartPolicy.ALWAYS: "always",
    RestartPolicy.UNLESS_STOPPED: "always",
}
"""An explicit stop ends every Restart= of systemd, so `unless-stopped` is `always`."""


def _restart(config: DaemonConfig, facts: Facts) -> list[Property]:
    restart = config.restart
    if not restart.delegate or restart.policy is RestartPolicy.NEVER or restart.max_retries == 0:
        # The manager restarts it. A clean exit leaves the unit there too, so that its code is not lost while nobody looks.
        return [("Restart", "s", "no"), ("RemainAfterExit", "b", True), ("StartLimitIntervalUSec", "t", 0)]
    limited = restart.max_retries < UNLIMITED
    found: list[Property] = [
        ("Restart", "s", RESTARTS[restart.policy]),
        # With it `always` would not restart after a clean exit.
        ("RemainAfterExit", "b", restart.policy is RestartPolicy.ON_FAILURE),
        ("RestartUSec", "t", microseconds(restart.initial_delay)),
        ("StartLimitIntervalUSec", "t", microseconds(restart.window) if limited else 0),
    ]
    if limited:
        found.append(("StartLimitBurst", "u", restart.max_retries + 1))  # it counts the first start as well
    if grows(config) and facts.version >= GRADUAL_RESTARTS:
        found += [
            (
                "RestartSteps",
                "u",
                restart_steps(restart.initial_delay, restart.multiplier, restart.max_delay),
            ),
            ("RestartMaxDelayUSec", "t", microseconds(restart.max_delay)),
        ]
    return found


def restart_steps(initial: float, multiplier: float, largest: float) -> int:
    """How many restarts it takes to get from *initial* to *largest* seconds: RestartSteps=, at least 1."""
    steps, delay = 0, initial
    while delay < largest and steps < UNLIMITED:
        delay *= multiplier
        steps += 1
    return max(1, steps)


def limits_of(config: DaemonConfig, facts: Facts) -> list[Property]:
    """What `[resources]` sets."""
    resources = config.resources
    found: list[Property] = [
        ("CPUQuotaPerSecUSec", "t", max(1, round(resources.cpu_quota_percent * 10_000))),
        ("TasksMax", "t", resources.pids_max),
        ("LimitNOFILE", "t", resources.open_files_max),
        ("LimitNOFILESoft", "t", resources.open_files_max),
    ]
    if facts.unified:
        found.append(("CPUWeight", "t", weight_of(resources.cpu_shares)))
    else:
        found.append(
            ("CPUShares", "t", max(2, min(resources.cpu_shares, 262_144)))
        )  # the kernel's bounds (cgroup v1, cpu.shares)
    if resources.memory_bytes:
        found.append(("MemoryMax", "t", resources.memory_bytes))
        if facts.unified and resources.memory_swap_bytes:
            found.append(("MemorySwapMax", "t", max(0, resources.memory_swap_bytes - resources.memory_bytes)))
    for name, value in (
        ("IOReadBandwidthMax", resources.io_read_bps),
        ("IOWriteBandwidthMax", resources.io_write_bps),
    ):
        if value and facts.disks:
            found.append((name, "a(st)", [[disk, value] for disk in facts.disks]))
    for name, limit in (
        ("LimitCORE", resources.core_bytes),
        ("LimitSTACK", resources.stack_bytes),
        ("LimitAS", resources.address_space_bytes),
    ):
        if limit is not None:
            found += [(name, "t", limit), (f"{name}Soft", "t", limit)]
    if resources.lock_memory:
        found += [("LimitMEMLOCK", "t", INFINITY), ("LimitMEMLOCKSoft", "t", INFINITY)]
    if resources.nice is not None:
        found.append(("Nice", "i", resources.nice))
    return found


def weight_of(shares: int) -> int:
    """CPUWeight= for cpu.shares: 1024 shares are weight 100 (systemd's own conversion), 1 to 10000 (cgroup-v2.rst, cpu.weight)."""
    return max(1, min(round(shares * DEFAULT_WEIGHT / DEFAULT_SHARES), 10_000))


def _identity(config: DaemonConfig) -> list[Property]:
    found: list[Property] = []
    if config.user is not None:
        found.append(("User", "s", config.user))
    if config.group is not None:
        found.append(("Group", "s", config.group))
    if config.security.supplementary_groups:
        found.append(("SupplementaryGroups", "as", list(config.security.supplementary_groups)))
    if config.security.umask is not None:
        found.append(("UMask", "u", config.security.umask))
    return found


def capability_mask(names: tuple[str, ...] | frozenset[str]) -> int:
    """The bits of a capability set (<linux/capability.h>)."""
    return sum(1 << CAPABILITIES.index(name) for name in set(names))


def bounding_set(config: DaemonConfig) -> int | None:
    """The capabilities a daemon may ever have, None where nothing is dropped."""
    security = config.security
    if not security.drop_capabilities:
        return None
    everything = frozenset(CAPABILITIES)
    dropped = everything if "ALL" in security.drop_capabilities else frozenset(security.drop_capabilities)
    return capability_mask((everything - dropped) | given_capabilities(config))


def given_capabilities(config: DaemonConfig) -> frozenset[str]:
    """The capabilities it is to have whatever its user."""
    lock = ("IPC_LOCK",) if config.resources.lock_memory else ()
    return frozenset((*config.security.add_capabilities, *lock))


def _hardening(config: DaemonConfig, facts: Facts, runtime_dir: str) -> list[Property]:
    security = config.security
    found: list[Property] = []
    filtered = confining(config, user=facts.user)
    if security.no_new_privileges or any(name == "SystemCallFilter" for name, _, _ in filtered):
        found.append(("NoNewPrivileges", "b", True))  # natively no filter goes without it either
    found += filtered
    if security.read_only_root:
        found.append(("ProtectSystem", "s", "strict"))
        # A `Daemon` answers for its health there.
        own = (
            [runtime_dir] if config.daemon is not None and runtime_dir not in security.writable_paths else []
        )
        paths = [*security.writable_paths, *own]
        if paths:
            found.append(("ReadWritePaths", "as", paths))
    if security.private_tmp:
        found.append(("PrivateTmp", "b", True))
    bounds = bounding_set(config)
    if bounds is not None:
        found.append(("CapabilityBoundingSet", "t", bounds))
    given = given_capabilities(config)
    if given and not (facts.user and given == {"IPC_LOCK"} and not security.add_capabilities):
        # A user's systemd has none to give: there the limit of locked memory must do.
        found.append(("AmbientCapabilities", "t", capability_mask(given)))
    return found


def _output(config: DaemonConfig) -> list[Property]:
    logging = config.logging
    if logging.destination is LogDestination.NULL:
        return [("StandardOutput", "s", "null"), ("StandardError", "s", "null")]
    if logging.destination is LogDestination.INHERIT:
        return [("StandardOutputFileDescriptor", "h", 1), ("StandardErrorFileDescriptor", "h", 2)]
    if logging.path is not None:
        return [
            ("StandardOutputFileToAppend", "s", logging.path),
            ("StandardErrorFileToAppend", "s", logging.path),
        ]
    return [("StandardOutput", "s", "journal"), ("StandardError", "s", "journal")]
