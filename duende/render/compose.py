"""A Compose file (compose-spec) with a service for each daemon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duende.adapters.container.plan import RESTARTS, user_of
from duende.config.model import DaemonConfig, LogDestination, RestartPolicy
from duende.render.containers import Boxed, added_capabilities, boxed, ignored, notes, refuse_device_limits
from duende.render.written import Note, Rendered, head, refuse_ignored
from duende.render.yamlfile import dump
from duende.restart import UNLIMITED


def compose(configs: Sequence[DaemonConfig], *, python: str | None = None) -> Rendered:
    """The Compose file of *configs*. A class and its configuration are `configs` with their content inline, which Compose has since 2.23.1.

    Raises:
        PlatformConfigError: something was asked for that Compose would not do, and `best_effort` is not set.
    """
    services: dict[str, Any] = {}
    contents: dict[str, Any] = {}
    told: list[Note] = []
    for config in configs:
        box = boxed(config, python=python)
        told += refuse_ignored(config, "compose", ignored(config))
        told += [*notes(config, "Compose"), *_notes(config)]
        services[config.name] = _service(config, box, contents)
    document: dict[str, Any] = {"services": services}
    if contents:
        document["configs"] = contents
    unique = tuple(dict.fromkeys(told))
    text = head(configs[0], "compose", unique) + "\n" + dump(_literal(document))
    return Rendered(filename="compose.yaml", text=text, notes=unique)


def _literal(value: Any) -> Any:
    """*value* with every `$` doubled: Compose would take it for a variable."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    return value


def _service(config: DaemonConfig, box: Boxed, contents: dict[str, Any]) -> dict[str, Any]:
    settings = box.settings
    service: dict[str, Any] = {
        "image": box.image,
        "entrypoint": [box.bundle.argv[0]],
        "command": list(box.bundle.argv[1:]),
        "labels": {"duende.daemon.name": config.name, "duende.daemon.version": config.version},
        "restart": _restart(config),
        "stop_signal": "SIGTERM",
        "stop_grace_period": _span(config.shutdown_timeout),
        "init": settings.init if settings.init is not None else config.daemon is None,
        **_limits(config),
        **_security(config),
        **_health(config),
        "logging": _logging(config),
    }
    optional = {
        "environment": dict(sorted(config.env.items())),
        "env_file": [config.env_file] if config.env_file is not None else [],
        "working_dir": config.working_dir,
        "user": user_of(config),
        "ports": list(settings.ports),
        "volumes": [*(f"{path}:{path}" for path in config.security.writable_paths), *settings.volumes],
        "runtime": settings.runtime,
    }
    service |= {key: value for key, value in optional.items() if value}
    if settings.network in ("host", "none"):
        service["network_mode"] = settings.network
    mounted = []
    for number, (path, text) in enumerate(box.bundle.files):
        name = f"{config.name}-{number}"
        contents[name] = {"content": text}
        mounted.append({"source": name, "target": path, "mode": 0o444})
    if mounted:
        service["configs"] = mounted
    return service


def _span(seconds: float) -> str:
    """A duration as Compose reads it: "30s", "1500ms"."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def _restart(config: DaemonConfig) -> str:
    restart = config.restart
    if restart.max_retries == 0:
        return "no"
    if restart.policy is not RestartPolicy.ON_FAILURE:
        return RESTARTS[restart.policy]
    return "on-failure" if restart.max_retries >= UNLIMITED else f"on-failure:{restart.max_retries}"


def _limits(config: DaemonConfig) -> dict[str, Any]:
    resources = config.resources
    limits: dict[str, Any] = {
        "cpus": resources.cpu_quota_percent / 100,
        "cpu_shares": resources.cpu_shares,
        "pids_limit": resources.pids_max,
        "ulimits": {"nofile": resources.open_files_max},
    }
    if resources.memory_bytes:
        limits["mem_limit"] = resources.memory_bytes
        if resources.memory_swap_bytes:
            limits["memswap_limit"] = resources.memory_swap_bytes
    for name, value in (("core", resources.core_bytes), ("stack", resources.stack_bytes)):
        if value is not None:
            limits["ulimits"][name] = value
    if resources.lock_memory:
        limits["ulimits"]["memlock"] = -1
    refuse_device_limits(config, "compose")
    return limits


def _security(config: DaemonConfig) -> dict[str, Any]:
    security = config.security
    found: dict[str, Any] = {
        "cap_drop": list(security.drop_capabilities),
        "cap_add": added_capabilities(config),
        "security_opt": ["no-new-privileges:true"] if security.no_new_privileges else [],
        "group_add": list(security.supplementary_groups),
        "tmpfs": ["/tmp:rw,nosuid,nodev,mode=1777"] if security.private_tmp else [],  # noqa: S108 (a mount point inside)
        "read_only": security.read_only_root,
    }
    return {key: value for key, value in found.items() if value}


def _health(config: DaemonConfig) -> dict[str, Any]:
    check = config.health_check
    if not check.enabled or not check.exec:
        return {}
    return {
        "healthcheck": {
            "test": ["CMD", *check.exec],
            "interval": _span(check.interval),
            "timeout": _span(check.timeout),
            "retries": check.retries,
        }
    }


def _logging(config: DaemonConfig) -> dict[str, Any]:
    logging = config.logging
    if logging.destination is LogDestination.NULL:
        return {"driver": "none"}
    options = {"max-size": str(logging.max_bytes), "max-file": str(logging.backups + 1)}
    return {"driver": "json-file", "options": options}


def _notes(config: DaemonConfig) -> list[Note]:
    found = []
    if config.restart.policy is not RestartPolicy.NEVER:
        found.append(
            Note(
                "restart",
                "Docker's own delays: 100 ms, doubled up to a minute, anew after a run of ten seconds",
            )
        )
    check = config.health_check
    if check.enabled and check.exec and config.restart.policy is not RestartPolicy.NEVER and check.restart:
        found.append(Note("health_check.restart", "Compose restarts nothing that is merely unhealthy"))
    if check.enabled and check.port is not None:
        found.append(
            Note("health_check.port", "a container's health check is a program: give health_check.exec")
        )
    return found
