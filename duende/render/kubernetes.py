"""Kubernetes: a Deployment for what is to run for ever, a Job for what may end, a ConfigMap for what a class needs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from duende.config.model import DaemonConfig, ReadinessKind, RestartPolicy
from duende.errors import PlatformConfigError
from duende.render.containers import Boxed, boxed, ignored, notes
from duende.render.written import Note, Rendered, head, refuse_ignored
from duende.render.yamlfile import dump

FOR_EVER = (RestartPolicy.ALWAYS, RestartPolicy.UNLESS_STOPPED)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123, which names of objects must obey."""
_IGNORED = {
    "resources.pids_max": "the kubelet limits processes for all pods alike (podPidsLimit)",
    "resources.open_files_max": "pods have no limits of setrlimit(2)",
    "resources.core_bytes": "pods have no limits of setrlimit(2)",
    "resources.stack_bytes": "pods have no limits of setrlimit(2)",
    "resources.io_read_bps": "pods have no limits of input and output",
    "resources.io_write_bps": "pods have no limits of input and output",
    "security.network": "a pod always has a network, which a NetworkPolicy of the cluster can shut",
    "resources.lock_memory": "pods have no limit of locked memory to raise",
    "logging.max_bytes": "the kubelet rotates for all containers alike",
    "logging.backups": "the kubelet rotates for all containers alike",
}


def kubernetes(configs: Sequence[DaemonConfig], *, python: str | None = None) -> Rendered:
    """The objects of *configs*.

    Raises:
        PlatformConfigError: something was asked for that Kubernetes would not do, and `best_effort` is not set; or a name or a user is
            none that it takes.
    """
    documents: list[Any] = []
    told: list[Note] = []
    for config in configs:
        box = boxed(config, python=python)
        told += refuse_ignored(config, "kubernetes", [*ignored(config), *_IGNORED.items()])
        told += [*notes(config, "Kubernetes"), *_notes(config)]
        name = _name(config)
        if box.bundle.files:
            documents.append(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": _metadata(config, name),
                    "data": {os.path.basename(path): text for path, text in box.bundle.files},
                }
            )
        documents.append(_workload(config, box, name))
    unique = tuple(dict.fromkeys(told))
    return Rendered(
        filename="kubernetes.yaml",
        text=head(configs[0], "kubernetes", unique) + "\n" + dump(*documents),
        notes=unique,
    )


def _name(config: DaemonConfig) -> str:
    name = config.name.replace("_", "-").lower()
    if _LABEL.fullmatch(name) is None:
        raise PlatformConfigError(
            f"cannot write {config.name!r} for Kubernetes: {name!r} is no name that it takes (RFC 1123)",
            remedy="use at most 63 letters, digits and '-', beginning and ending with a letter or digit",
        )
    return name


def _metadata(config: DaemonConfig, name: str) -> dict[str, Any]:
    version = re.sub(r"[^A-Za-z0-9._-]", "-", config.version)[:63]
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/version": version}
    return {"name": name, "labels": {**labels, "app.kubernetes.io/managed-by": "duende"}}


def _workload(config: DaemonConfig, box: Boxed, name: str) -> dict[str, Any]:
    pod = _pod(config, box, name)
    metadata = _metadata(config, name)
    template = {"metadata": {"labels": metadata["labels"]}, "spec": pod}
    if config.restart.policy in FOR_EVER and config.restart.max_retries > 0:
        pod["restartPolicy"] = "Always"
        spec: dict[str, Any] = {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # never two instances at a time
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": template,
        }
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    again = config.restart.policy is not RestartPolicy.NEVER and config.restart.max_retries > 0
    pod["restartPolicy"] = "OnFailure" if again else "Never"
    limit = min(config.restart.max_retries, 2**31 - 1) if again else 0
    spec = {"backoffLimit": limit, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod(config: DaemonConfig, box: Boxed, name: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": box.image,
        "command": [box.bundle.argv[0]],
        "args": [word.replace("$(", "$$(") for word in box.bundle.argv[1:]],  # $(NAME) would be a variable
        "env": [
            {"name": key, "value": value.replace("$(", "$$(")} for key, value in sorted(config.env.items())
        ],
        "resources": _resources(config),
        "securityContext": _security(config),
        **_probes(config),
    }
    if config.working_dir is not None:
        container["workingDir"] = config.working_dir
    if box.settings.ports:
        from duende.adapters.container.settings import ports_of

        container["ports"] = [
            {"containerPort": inside, "protocol": protocol.upper()}
            for _, _, inside, protocol in ports_of(box.settings)
        ]
    mounts, volumes = _volumes(config, box, name)
    if mounts:
        container["volumeMounts"] = mounts
    pod: dict[str, Any] = {"terminationGracePeriodSeconds": max(1, round(config.shutdown_timeout))}
    pod |= {"automountServiceAccountToken": False, "enableServiceLinks": False}
    if box.settings.network == "host" and "network" in config.platform.container:
        pod["hostNetwork"] = True
    groups = [
        _number(config, "security.supplementary_groups", each)
        for each in config.security.supplementary_groups
    ]
    if groups:
        pod["securityContext"] = {"supplementalGroups": groups}
    pod["containers"] = [{key: value for key, value in container.items() if value not in ([], {}, None)}]
    if volumes:
        pod["volumes"] = volumes
    return pod


def _resources(config: DaemonConfig) -> dict[str, Any]:
    resources = config.resources
    limits = {"cpu": f"{max(1, round(resources.cpu_quota_percent * 10))}m"}
    if resources.memory_bytes:
        limits["memory"] = str(resources.memory_bytes)
    return {"limits": limits}


def _number(config: DaemonConfig, key: str, value: str) -> int:
    if not value.isdecimal():
        raise PlatformConfigError(
            f"cannot write {key} = {value!r} of {config.name!r} for Kubernetes: it takes numbers only, and names are the image's own",
            remedy="give the number that the image has for it",
        )
    return int(value)


def _security(config: DaemonConfig) -> dict[str, Any]:
    security = config.security
    found: dict[str, Any] = {"allowPrivilegeEscalation": not security.no_new_privileges}
    if config.user is not None:
        found["runAsUser"] = 0 if config.user == "root" else _number(config, "user", config.user)
        found["runAsNonRoot"] = found["runAsUser"] != 0
    if config.group is not None:
        found["runAsGroup"] = 0 if config.group == "root" else _number(config, "group", config.group)
    if security.read_only_root:
        found["readOnlyRootFilesystem"] = True
    capabilities = {"drop": list(security.drop_capabilities), "add": list(security.add_capabilities)}
    if any(capabilities.values()):
        found["capabilities"] = {key: value for key, value in capabilities.items() if value}
    return found


def _probes(config: DaemonConfig) -> dict[str, Any]:
    check, ready = config.health_check, config.readiness
    found: dict[str, Any] = {}
    if check.enabled and (check.exec or check.port is not None):
        action: dict[str, Any] = {"tcpSocket": {"port": check.port}}
        if check.exec:
            action = {"exec": {"command": list(check.exec)}}
        elif check.http:
            action = {"httpGet": {"path": check.http, "port": check.port}}
        timing = {
            "periodSeconds": max(1, round(check.interval)),
            "timeoutSeconds": max(1, round(check.timeout)),
        }
        found["livenessProbe"] = {**action, **timing, "failureThreshold": check.retries}
    probe: dict[str, Any] = {}
    if ready.kind is ReadinessKind.PORT:
        probe = {"tcpSocket": {"port": ready.port}}
    elif ready.kind is ReadinessKind.EXEC:
        probe = {"exec": {"command": list(ready.exec)}}
    if probe:
        tries = max(1, round(ready.timeout))
        found["startupProbe"] = {**probe, "periodSeconds": 1, "failureThreshold": tries}
    return found


def _volumes(config: DaemonConfig, box: Boxed, name: str) -> tuple[list[Any], list[Any]]:
    mounts: list[Any] = []
    volumes: list[Any] = []
    if config.security.private_tmp:
        mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 (a mount point inside)
        volumes.append({"name": "tmp", "emptyDir": {}})
    for number, path in enumerate(config.security.writable_paths):
        mounts.append({"name": f"writable-{number}", "mountPath": path})
        volumes.append({"name": f"writable-{number}", "emptyDir": {}})
    for number, (path, _) in enumerate(box.bundle.files):
        inside = os.path.basename(path)
        mounts.append({"name": "config", "mountPath": path, "subPath": inside, "readOnly": True})
        if number == 0:
            volumes.append({"name": "config", "configMap": {"name": name}})
    return mounts, volumes


def _notes(config: DaemonConfig) -> list[Note]:
    found = [Note("resources.memory_swap_bytes", "swap is the kubelet's to decide")]
    restart = config.restart
    if restart.policy is not RestartPolicy.NEVER:
        found.append(
            Note(
                "restart",
                "the kubelet's own delays: 10 s, doubled up to five minutes, anew after ten minutes",
            )
        )
    if config.security.writable_paths:
        found.append(
            Note(
                "security.writable_paths",
                "they are empty and live as long as the pod: give a claim for what must stay",
            )
        )
    if config.env_file is not None:
        found.append(Note("env_file", "left out: make a Secret of it, and name it in envFrom"))
    return found
