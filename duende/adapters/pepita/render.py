"""From a configuration to the command line of `pepita run`: pure but for reading an env_file."""

from __future__ import annotations

import os
import sys

import msgspec

from duende.adapters.container import source
from duende.adapters.contract import SpawnRequest
from duende.adapters.pepita.settings import Settings, memory_of, vcpus_of
from duende.config.model import DaemonConfig, LogDestination
from duende.errors import ConfigError

LABEL_ID = "duende.daemon.id"
LABEL_CONFIG = "duende.daemon.config"
GUEST_SOCKET = "/run/duende/daemon.sock"
"""Where a `Daemon` serves its health in the guest."""
CPU_PERIOD = 100_000
"""Microseconds: the kernel's own default (cgroup-v2.rst, cpu.max)."""
FIRST_CID = 3
"""0 to 2 are reserved (vsock(7))."""
CIDS = 0x7FFF0000
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.version_info[:2] == {version} or sys.exit('duende: the root image has Python %d.%d, "
    "and {text} comes from the host: use a root image with Python {text}' % sys.version_info[:2]); "
    "from duende.host.main import main; sys.exit(main(sys.argv[1:]))"
)


def vm_name(name: str, daemon_id: str) -> str:
    """`duende-vm-<name>-<short id>`, short enough for the path of a socket (unix(7)); the label has the whole id."""
    return f"duende-vm-{name[:20]}-{daemon_id[:8]}"


def cid_of(daemon_id: str) -> int:
    """The vsock address of a daemon: by its id, so that no two processes that start daemons need to agree."""
    digits = "".join(each for each in daemon_id if each in "0123456789abcdef")
    return FIRST_CID + int(digits[-12:] or "0", 16) % CIDS


def shares_to_weight(shares: int) -> int:
    """cpu.weight (cgroup v2) of cpu.shares (v1), as runc converts them (libcontainer/cgroups/utils.go)."""
    return 1 + ((shares - 2) * 9999) // 262142 if shares else 100


def knobs_of(config: DaemonConfig, memory: int) -> list[str]:
    """Files of the daemon's control group in the guest. A limit above the VM's memory is the VM's memory."""
    resources = config.resources
    knobs = [f"pids.max={resources.pids_max}", f"cpu.weight={shares_to_weight(resources.cpu_shares)}"]
    if resources.memory_bytes < memory << 20:
        knobs.append(f"memory.max={resources.memory_bytes}")
    swap = max(0, resources.memory_swap_bytes - resources.memory_bytes)
    knobs.append(f"memory.swap.max={swap}")
    knobs.append(f"cpu.max={round(resources.cpu_quota_percent * CPU_PERIOD / 100)} {CPU_PERIOD}")
    return knobs


def limits_of(config: DaemonConfig) -> list[str]:
    """Limits of the process."""
    resources = config.resources
    limits = [f"nofile={resources.open_files_max}"]
    for name, key in (("core", "core_bytes"), ("stack", "stack_bytes"), ("as", "address_space_bytes")):
        value = getattr(resources, key)
        if value is not None:
            limits.append(f"{name}={value}")
    if resources.lock_memory:
        limits.append("memlock=-1")
    return limits


def arguments(
    request: SpawnRequest, settings: Settings, *, socket: str, libraries: tuple[str, ...] = ()
) -> list[str]:
    """The words after `pepita`. *socket* is where the manager asks a `Daemon` for its health, *libraries* what `copy_binary` needs.

    Raises:
        ConfigError: nothing says what to run.
    """
    config = request.config
    memory = memory_of(config, settings)
    env, argv, files, rootfs = _what_to_run(request)
    words = ["run", "--name", vm_name(config.name, request.daemon_id), "--daemon", "--json"]
    if settings.kernel_path:
        words += ["--kernel", settings.kernel_path]
    words += ["--rootfs", settings.rootfs_path or rootfs]
    if settings.vsock_base_port is not None:
        words += ["--vsock-cid", str(cid_of(request.daemon_id))]
        env["PEPITA_VSOCK_PORT"] = str(settings.vsock_base_port)
    words += ["--memory", str(memory), "--vcpus", str(vcpus_of(config, settings))]
    words += [
        "--label",
        f"{LABEL_ID}={request.daemon_id}",
        "--label",
        f"{LABEL_CONFIG}={request.config_hash}",
    ]
    words += [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    words += [word for each in (*files, *libraries, *settings.files) for word in ("--file", each)]
    words += [word for each in settings.disks for word in ("--disk", each)]
    if config.daemon is not None:
        words += ["--forward", f"{socket}:{GUEST_SOCKET}"]
    words += [word for each in settings.forward for word in ("--forward", each)]
    words += [word for each in limits_of(config) for word in ("--limit", each)]
    words += [word for each in knobs_of(config, memory) for word in ("--knob", each)]
    words += ["--log-bytes", str(config.logging.max_bytes), "--log-files", str(config.logging.backups)]
    words += _identity(config)
    words += ["--no-log"] if config.logging.destination is LogDestination.NULL else []
    words += ["--cold"] if settings.cold else []
    return [*words, "--exec", *argv]


def _identity(config: DaemonConfig) -> list[str]:
    words = []
    for option, value in (("--user", config.user), ("--group", config.group), ("--cwd", config.working_dir)):
        if value is not None:
            words += [option, value]
    security = config.security
    if security.supplementary_groups:
        words += ["--groups", ",".join(security.supplementary_groups)]
    if security.umask is not None:
        words += ["--umask", f"{security.umask:o}"]
    if config.resources.nice is not None:
        words += ["--nice", str(config.resources.nice)]
    return [*words, "--no-new-privileges"] if security.no_new_privileges else words


def _what_to_run(request: SpawnRequest) -> tuple[dict[str, str], list[str], list[str], str]:
    """(environment, program and arguments, files that go in, root)."""
    config = request.config
    file_env: dict[str, str] = {}
    if config.env_file is not None:
        from duende.config import read_env_file

        file_env = read_env_file(config.env_file)
    env = {
        **file_env,
        **config.env,
        "DUENDE_DAEMON_ID": request.daemon_id,
        "DUENDE_DAEMON_NAME": config.name,
        **{key: value for key, value in request.env.items() if key != "NOTIFY_SOCKET"},
    }
    if config.daemon is None:
        if config.binary_path is None:
            raise ConfigError(
                f"cannot start {config.name!r}: neither binary_path nor daemon is set",
                remedy="set one of the two",
            )
        return env, [config.binary_path, *config.args], [], "tiny"
    found = source.source_of(config.daemon, request.import_path)
    files = [f"{mount.source}:{mount.target}" for mount in found.mounts]
    if config.config_path is not None:
        path = os.path.abspath(config.config_path)
        files.append(f"{path}:{path}")
    env["DUENDE_SOCKET"] = GUEST_SOCKET
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    if any(mount.target == source.APPLICATION for mount in found.mounts):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (source.APPLICATION, env.get("PYTHONPATH", ""))))
    version = sys.version_info[:2]
    start = _START.format(version=version, text=".".join(map(str, version)))
    inside = msgspec.structs.replace(config, daemon=found.target)
    encoded = msgspec.json.encode(inside).decode()
    argv = ["python3", "-c", start, source.LIBRARY, found.target, "--config-json", encoded]
    return env, argv, files, "python"
