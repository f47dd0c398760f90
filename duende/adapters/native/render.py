"""From a configuration to what the warden starts: pure, but for looking up a user and reading an env_file.

Requests that share their settings share one `settings` value, so that a batch of a thousand is grouped by identity.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from duende.adapters.contract import SpawnRequest
from duende.adapters.native.ignored import CONFINEMENT, CONTROLLED, asked, refuse_ignored
from duende.adapters.native.warden.start import ROOT
from duende.config.model import DaemonConfig, LogDestination, ReadinessKind, readiness_of
from duende.errors import ConfigError, SpawnError

INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "SHELL",
    "XDG_RUNTIME_DIR",
)
"""What a daemon takes over from its manager's environment; the rest stays outside (no secrets, F019)."""
PYTHON_INHERITED = (
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONWARNINGS",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONHOME",
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REMEMBERED = 4096
"""Configurations whose settings are found by identity."""
RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from duende.host.main import main; sys.exit(main(sys.argv[1:]))"


class Launch:
    """One daemon as the warden takes it."""

    __slots__ = ("daemon_id", "item", "key", "log", "settings")

    def __init__(
        self,
        daemon_id: str,
        settings: dict[str, Any],
        item: tuple[Any, ...],
        key: tuple[Any, ...] | None,
        log: Any,
    ) -> None:
        self.daemon_id = daemon_id
        self.settings = settings
        self.item = item
        """(id, program, argv, env, output), or (id, spec, name, env, output) for a preloaded interpreter."""
        self.key = key
        """The preloaded interpreter to ask, None for a program."""
        self.log = log
        """("open", id, pipe, path, max_bytes, backups), or None."""


class Renderer:
    """Renders the requests of one adapter."""

    def __init__(self, runtime_dir: str, state_dir: str, environ: dict[str, str]) -> None:
        self.runtime_dir = runtime_dir
        self.state_dir = state_dir
        self._environ = environ
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._settings: dict[tuple[Any, ...], dict[str, Any]] = {}
        """By equality of what they are made from."""
        self._quick: dict[tuple[Any, ...], tuple[dict[str, Any], tuple[Any, ...]]] = {}
        """By identity of the same."""
        self._programs: dict[tuple[str, str], str] = {}

    def render(self, request: SpawnRequest) -> Launch:
        """What the warden needs for *request*.

        Raises:
            SpawnError: a user, group, program or env_file does not exist.
            ConfigError: nothing says what to run.
        """
        config = request.config
        settings = self._settings_of(config)
        output, log = self._output_of(request.daemon_id, config)
        env = {"DUENDE_DAEMON_ID": request.daemon_id, "DUENDE_DAEMON_NAME": config.name, **request.env}
        if readiness_of(config) is ReadinessKind.NOTIFY:
            env["NOTIFY_SOCKET"] = self.notify_path
        if config.daemon is not None:
            return self._python(request, settings, env, output, log)
        if config.binary_path is None:
            raise ConfigError(
                f"cannot start {config.name!r}: neither binary_path nor daemon is set",
                remedy="set one of the two",
            )
        path = self._program(config.binary_path, settings["env"])
        return Launch(
            request.daemon_id,
            settings,
            (request.daemon_id, path, [config.binary_path, *config.args], env, output),
            None,
            log,
        )

    @property
    def notify_path(self) -> str:
        """Where daemons report readiness (sd_notify(3))."""
        return f"{self.runtime_dir}/notify.sock"

    def socket_path(self, daemon_id: str) -> str:
        """Where a `Daemon` answers for its health and metrics."""
        return f"{self.runtime_dir}/{daemon_id[:13]}.sock"

    def log_path(self, config: DaemonConfig) -> str | None:
        """The file the daemon's output goes to, None where it is not captured."""
        if config.logging.destination is not LogDestination.FILE:
            return None
        return config.logging.path or f"{self.state_dir}/logs/{config.name}.log"

    def _python(
        self, request: SpawnRequest, settings: dict[str, Any], env: dict[str, str], output: str, log: Any
    ) -> Launch:
        import msgspec

        config = request.config
        native = config.platform.native
        python = str(native.get("python", sys.executable))
        env["DUENDE_SOCKET"] = self.socket_path(request.daemon_id)
        env["PYTHONUNBUFFERED"] = "1"
        encoded = msgspec.json.encode(config)
        inherited = {key: value for key in PYTHON_INHERITED if (value := self._environ.get(key)) is not None}
        if native.get("preload", True) and sys.platform == "linux":
            spec = {
                "target": config.daemon,
                "config": encoded,
                "path": request.import_path,
                "source": config.config_path,
            }
            keep: dict[str, str] = {
                key: self._environ[key] for key in ("PATH", "LANG", "LC_ALL", "TZ") if key in self._environ
            }
            key = (python, ROOT, {**keep, **inherited})
            return Launch(
                request.daemon_id,
                settings,
                (request.daemon_id, spec, config.name, {**inherited, **env}, output),
                key,
                log,
            )
        env = {**inherited, **env}
        if request.import_path:
            env["PYTHONPATH"] = os.pathsep.join(
                filter(None, (request.import_path, env.get("PYTHONPATH", "")))
            )
        argv = [python, "-c", RUN, ROOT, str(config.daemon), "--config-json", encoded.decode()]
        return Launch(request.daemon_id, settings, (request.daemon_id, python, argv, env, output), None, log)

    def _program(self, program: str, env: dict[str, str]) -> str:
        if "/" in program:
            return program
        search = env.get("PATH", DEFAULT_PATH)
        known = self._programs.get((program, search))
        if known is not None:
            return known
        for folder in search.split(os.pathsep):
            candidate = os.path.join(folder or ".", program)
            if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
                self._programs[program, search] = candidate
                return candidate
        raise SpawnError(
            f"cannot start {program!r}: no such program in PATH ({search})",
            errno=2,
            step="exec",
            path=program,
            remedy="install it, or give binary_path as an absolute path",
        )

    def _output_of(self, daemon_id: str, config: DaemonConfig) -> tuple[str, Any]:
        path = self.log_path(config)
        if path is None:
            return ("inherit" if config.logging.destination is LogDestination.INHERIT else ""), None
        pipe = f"{self.runtime_dir}/{daemon_id}.log"
        return pipe, ("open", daemon_id, pipe, path, config.logging.max_bytes, config.logging.backups)

    def _settings_of(self, config: DaemonConfig) -> dict[str, Any]:
        # Instances of one template share their parts, so identity is equality there, and quick; the parts are kept alive beside the entry.
        parts = (config.resources, config.security, config.env)
        rest = (
            config.env_file,
            config.user,
            config.group,
            config.working_dir,
            config.daemon if _by_path(config) else config.daemon is None,
            (config.binary_path, config.config_path) if _by_path(config) else None,
            config.best_effort,
            config.health_check.watchdog,
            config.restart.delegate,
        )
        quick = (*map(id, parts), *rest)
        if config.env_file is None and quick in self._quick:
            return self._quick[quick][0]
        refuse_ignored(config)
        settings = self._build(config)
        if config.env_file is None:
            # Daemons that were written apart and ask for the same are one batch all the same.
            same = (config.resources, config.security, *sorted(config.env.items()), *rest)
            settings = self._settings.setdefault(same, settings)
            if len(self._quick) >= REMEMBERED:
                self._quick.clear()
            self._quick[quick] = (settings, parts)
        return settings

    def _build(self, config: DaemonConfig) -> dict[str, Any]:
        resources = config.resources
        settings: dict[str, Any] = {"cwd": config.working_dir or "/", "limits": limits_of(config)}
        if asks_for_group(config):
            settings["grouped"] = True
        settings["nice"] = self._nice if resources.nice is None else resources.nice
        if config.security.umask is not None:
            settings["umask"] = config.security.umask
        if config.security.no_new_privileges:
            settings["no_new_privs"] = True
        if config.security.network_namespace is not None:
            settings["network_namespace"] = config.security.network_namespace
        if config.security.read_only_root or config.security.private_tmp:
            settings["mounts"] = self._mounts(config)
            settings["lenient"] = config.best_effort
        self._confine(config, settings)
        env = {key: self._environ[key] for key in INHERITED if key in self._environ}
        env.setdefault("PATH", DEFAULT_PATH)
        if config.user is not None or config.group is not None or config.security.supplementary_groups:
            env.update(_apply_user(config, settings))
        if config.env_file is not None:
            from duende.config import read_env_file

            env.update(read_env_file(config.env_file))
        env.update(config.env)
        env["PWD"] = settings["cwd"]
        settings["env"] = env
        return settings

    def _mounts(self, config: DaemonConfig) -> dict[str, Any]:
        """What `duende.kernel.mounts.own_view` is told: paths that the daemon was given itself stay where they are, also below /tmp."""
        security = config.security
        given = (
            self.runtime_dir,
            config.working_dir,
            config.config_path,
            config.binary_path,
            *self._own(config),
        )
        kept = {os.path.abspath(path) for path in (*given, *security.writable_paths) if path and "/" in path}
        hidden = [path for path in sorted(kept) if path.startswith(("/tmp/", "/var/tmp/"))]  # noqa: S108
        return {
            "read_only": security.read_only_root,
            "writable": [*security.writable_paths, self.runtime_dir] if security.read_only_root else [],
            "private_tmp": security.private_tmp,
            "kept": hidden if security.private_tmp else [],
        }

    def _own(self, config: DaemonConfig) -> list[str]:
        """The folders that a `Daemon` class is imported from."""
        if config.daemon is None:
            return []
        own = [ROOT, sys.prefix, sys.base_prefix]
        module = config.daemon.rpartition(":")[0]
        return [*own, os.path.dirname(os.path.abspath(module))] if module.endswith(".py") else own

    def _confine(self, config: DaemonConfig, settings: dict[str, Any]) -> None:
        security = config.security
        if not any(asked(config, key) for key in (*CONFINEMENT, "security.drop_capabilities")):
            return  # most daemons: nothing is imported for them
        from duende.policy.security.profiles import confinement, dropped_capabilities

        own = self._own(config)
        own += [
            path
            for path in (config.binary_path, config.config_path, config.working_dir)
            if path and "/" in path
        ]
        settings["confine"] = confinement(security, tuple(own), (self.runtime_dir,))
        if security.drop_capabilities and os.geteuid() == 0:
            settings["bounding"] = dropped_capabilities(security)


def _by_path(config: DaemonConfig) -> bool:
    """Whether settings depend on where a daemon's own files are."""
    return bool(config.security.readable_paths) or config.security.private_tmp


def asks_for_group(config: DaemonConfig) -> bool:
    """Whether a limit was asked for that a control group enforces; defaults ask for nothing."""
    return sys.platform == "linux" and any(asked(config, key) for key in CONTROLLED)


def _memory_by_group(config: DaemonConfig) -> bool:
    if not asks_for_group(config):
        return False
    from duende.adapters.native.groups import has_memory

    return has_memory(config)


def limits_of(config: DaemonConfig) -> list[tuple[str, int, int]]:
    """The rlimits (setrlimit(2)) of a configuration.

    Memory is RLIMIT_DATA: private writable memory, counted at allocation (Linux 4.7). It is what a plain process can be given without a
    control group, and is reported as *approximated*.
    """
    resources = config.resources
    limits = [("RLIMIT_NOFILE", resources.open_files_max, resources.open_files_max)]
    if resources.memory_bytes and not _memory_by_group(config):
        limits.append(("RLIMIT_DATA", resources.memory_bytes, resources.memory_bytes))
    for name, value in (
        ("RLIMIT_CORE", resources.core_bytes),
        ("RLIMIT_STACK", resources.stack_bytes),
        ("RLIMIT_AS", resources.address_space_bytes),
    ):
        if value is not None:
            limits.append((name, value, value))
    if resources.lock_memory:
        limits.append(("RLIMIT_MEMLOCK", -1, -1))
    return limits


def _apply_user(config: DaemonConfig, settings: dict[str, Any]) -> dict[str, str]:
    import grp
    import pwd

    env: dict[str, str] = {}

    def group_id(name: str) -> int:
        try:
            return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
        except KeyError:
            raise SpawnError(
                f"cannot start {config.name!r}: no group {name!r}",
                step="group",
                path=name,
                remedy="groupadd, or correct the name",
            ) from None

    if config.user is not None:
        try:
            entry = pwd.getpwuid(int(config.user)) if config.user.isdecimal() else pwd.getpwnam(config.user)
        except KeyError:
            raise SpawnError(
                f"cannot start {config.name!r}: no user {config.user!r}",
                step="user",
                path=config.user,
                remedy="useradd, or correct the name",
            ) from None
        settings["uid"], settings["gid"] = entry.pw_uid, entry.pw_gid
        env = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
        if os.geteuid() == 0:
            settings["groups"] = os.getgrouplist(entry.pw_name, entry.pw_gid)
    if config.group is not None:
        settings["gid"] = group_id(config.group)
    extra = [group_id(name) for name in config.security.supplementary_groups]
    if extra:
        settings["groups"] = sorted({*settings.get("groups", ()), *extra})
    return env
