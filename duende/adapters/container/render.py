"""From a `Plan` to the body of Docker's and Podman's `POST /containers/create` (Engine API v1.41): pure."""

from __future__ import annotations

from typing import Any

from duende.adapters.container.engine import Mount, Plan

_NANO = 1_000_000_000
LEAST_NANO = 1_000_000
"""Docker takes no interval or timeout of a health check below 1 ms."""


def docker_body(plan: Plan) -> dict[str, Any]:
    """The body; the name goes beside it. Fields are those of the API's ContainerCreate."""
    body: dict[str, Any] = {
        "Image": plan.image,
        "Entrypoint": [plan.argv[0]],
        "Cmd": list(plan.argv[1:]),
        "Env": [f"{key}={value}" for key, value in plan.env.items()],
        "Labels": dict(plan.labels),
        "StopSignal": "SIGTERM",
        "StopTimeout": plan.stop_timeout,
        "Healthcheck": _health(plan),
        "HostConfig": _host(plan),
    }
    if plan.working_dir:
        body["WorkingDir"] = plan.working_dir
    if plan.user:
        body["User"] = plan.user
    if plan.ports:
        body["ExposedPorts"] = {f"{inside}/{protocol}": {} for _, _, inside, protocol in plan.ports}
    return body


def _host(plan: Plan) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Memory": plan.memory,
        "MemorySwap": plan.memory_swap,
        "CpuPeriod": plan.cpu_period,
        "CpuQuota": plan.cpu_quota,
        "CpuShares": plan.cpu_shares,
        "PidsLimit": plan.pids,
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in plan.ulimits.items()],
        "CapAdd": list(plan.add_capabilities),
        "CapDrop": list(plan.drop_capabilities),
        "SecurityOpt": ["no-new-privileges"] if plan.no_new_privileges else [],
        "ReadonlyRootfs": plan.read_only,
        "Tmpfs": dict.fromkeys(plan.tmpfs, "rw,nosuid,nodev,mode=1777"),
        "Mounts": [_mount(each) for each in plan.mounts],
        "GroupAdd": list(plan.groups),
        "RestartPolicy": {"Name": plan.restart[0], "MaximumRetryCount": plan.restart[1]},
        "LogConfig": {"Type": plan.log_driver, "Config": dict(plan.log_options)},
        "NetworkMode": plan.network,
        "Init": plan.init,
    }
    if plan.read_bps:
        host["BlkioDeviceReadBps"] = [{"Path": path, "Rate": rate} for path, rate in plan.read_bps]
    if plan.write_bps:
        host["BlkioDeviceWriteBps"] = [{"Path": path, "Rate": rate} for path, rate in plan.write_bps]
    if plan.oci_runtime:
        host["Runtime"] = plan.oci_runtime
    if plan.ports:
        bindings: dict[str, list[dict[str, str]]] = {}
        for address, outside, inside, protocol in plan.ports:
            bindings.setdefault(f"{inside}/{protocol}", []).append(
                {"HostIp": address, "HostPort": str(outside)}
            )
        host["PortBindings"] = bindings
    return host


def _mount(mount: Mount) -> dict[str, Any]:
    # Mounts instead of Binds: a host path that does not exist is refused, where Binds makes it as a folder of root.
    kind = "bind" if mount.source.startswith("/") else "volume"
    return {"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _health(plan: Plan) -> dict[str, Any]:
    if plan.health is None:
        return {"Test": ["NONE"]}  # the image's own check is nobody's setting
    health = plan.health
    return {
        "Test": ["CMD", *health.argv],
        "Interval": max(LEAST_NANO, round(health.interval * _NANO)),
        "Timeout": max(LEAST_NANO, round(health.timeout * _NANO)),
        "Retries": health.retries,
        "StartPeriod": 0,
    }
