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
        "SecurityOpt": [
            *(["no-new-privileges"] if plan.no_new_privileges else ()),
            *([f"seccomp={plan.seccomp}"] if plan.seccomp else ()),
        ],
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


def ctr_arguments(plan: Plan, log: str) -> list[str]:
    """The arguments of `ctr run` (1.6): flags come before the image, as all words after it are the program's. *log* is where output goes."""
    words = ["run", "-d"]
    for key, value in plan.env.items():
        words += ["--env", f"{key}={value}"]
    for key, value in plan.labels.items():
        words += ["--label", f"{key}={value}"]
    for path in plan.tmpfs:  # before what may be mounted below: runc mounts in this order
        words += ["--mount", _csv("type=tmpfs", "src=tmpfs", f"dst={path}", "options=nosuid:nodev:mode=1777")]
    for mount in plan.mounts:
        options = "rbind:ro" if mount.read_only else "rbind:rw"
        words += [
            "--mount",
            _csv("type=bind", f"src={mount.source}", f"dst={mount.target}", f"options={options}"),
        ]
    words += ["--memory-limit", str(plan.memory), "--cpu-shares", str(plan.cpu_shares)]
    words += ["--cpu-quota", str(plan.cpu_quota), "--cpu-period", str(plan.cpu_period)]
    for flag, names in (("--cap-add", plan.add_capabilities), ("--cap-drop", plan.drop_capabilities)):
        for name in names:
            words += [flag, f"CAP_{name}"]
    if plan.working_dir:
        words += ["--cwd", plan.working_dir]
    if plan.network == "host":
        words.append("--net-host")
    elif plan.network == "bridge":
        words.append("--cni")
    if plan.read_only:
        words.append("--read-only")
    if not plan.no_new_privileges:
        words.append("--allow-new-privs")
    if plan.oci_runtime:
        words += ["--runc-binary", plan.oci_runtime]
    words += ["--seccomp"]  # Docker and Podman have their default filter on as well
    if plan.seccomp:
        words += ["--seccomp-profile", plan.seccomp]
    words += ["--log-uri", f"file://{log}"] if log else ["--null-io"]
    return [*words, plan.image, plan.name, *plan.argv]


def _csv(*fields: str) -> str:
    """Fields as ctr reads them (encoding/csv of Go): one with a comma or a quote stands in quotes."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if any(mark in field for mark in ',"\n') else field
        for field in fields
    )
