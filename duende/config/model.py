"""What a daemon may be configured with: plain frozen values with their defaults. Reading and checking them is next door.

Durations are seconds (float), sizes are bytes (int). TOML accepts "1m 30s" and "512MiB" for them, see `units`.
Defaults are those of the Rust project's documentation unless a field says otherwise.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from duende.config.policy import PolicyConfig

DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024
DEFAULT_MEMORY_SWAP_BYTES = 1024 * 1024 * 1024


class RestartPolicy(enum.Enum):
    """When a daemon that ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


class ReadinessKind(enum.Enum):
    """How a daemon shows that it is ready."""

    AUTO = "auto"
    """notify for a `Daemon` class, none for any other program."""
    NOTIFY = "notify"
    PORT = "port"
    EXEC = "exec"
    LOG_LINE = "log-line"
    NONE = "none"


class LogDestination(enum.Enum):
    """Where stdout and stderr go."""

    FILE = "file"
    """Captured: into a rotating file natively, into the platform's own store (journal, container log) elsewhere unless a path is given."""
    INHERIT = "inherit"
    """The adapter's own stdout and stderr."""
    NULL = "null"
    """Nowhere."""


class ResourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits. 0 or absent means the default for memory (F033) and no limit for I/O."""

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    memory_swap_bytes: int = DEFAULT_MEMORY_SWAP_BYTES
    """Memory plus swap."""
    cpu_quota_percent: float = 100.0
    """100 is one core."""
    cpu_shares: int = 1024
    io_read_bps: int = 0
    io_write_bps: int = 0
    io_devices: tuple[str, ...] = ()
    """Disks that the two before are for, as "/dev/vda"; absent: that of the working folder (natively)."""
    network_bps: int = 0
    """Bytes a second that leave `security.network_namespace`; 0 is no limit."""
    disk_bytes: int = 0
    """Bytes that `disk_folder` may hold, by the quota of its file system; 0 sets none, and `duende limits NAME disk=0` takes one away."""
    disk_folder: str | None = None
    """The folder that `disk_bytes` is for; absent: `working_dir`."""
    pids_max: int = 100
    open_files_max: int = 1024
    lock_memory: bool = False
    lock_memory_required: bool = False
    core_bytes: int | None = None
    """RLIMIT_CORE; None leaves it as inherited."""
    stack_bytes: int | None = None
    """RLIMIT_STACK; None leaves it as inherited."""
    address_space_bytes: int | None = None
    """RLIMIT_AS; None leaves it as inherited."""
    nice: int | None = None
    """Niceness -20 to 19; None leaves it as inherited."""


class HealthCheckConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Liveness checks by the manager. Without `exec` and `port` a `Daemon` is asked over its socket and a program is only watched."""

    enabled: bool = True
    interval: float = 30.0
    timeout: float = 10.0
    retries: int = 3
    """Consecutive failures that make it unhealthy."""
    successes: int = 2
    """Consecutive successes that make it healthy again."""
    exec: tuple[str, ...] = ()
    """A program that exits 0 while the daemon is well."""
    port: int | None = None
    """A TCP port on loopback that accepts while the daemon is well."""
    http: str = ""
    """A path, like "/healthz", that `port` answers by HTTP with a status from 200 to 399 while the daemon is well."""
    restart: bool = True
    """Whether an unhealthy daemon is restarted, as far as its policy restarts failures."""
    watchdog: float = 0.0
    """Seconds within which the daemon must say WATCHDOG=1 (sd_notify(3)), again and again; 0 asks for nothing."""


class RestartConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Policy and backoff: delay(n) = min(initial_delay x multiplier^n, max_delay), spread by jitter."""

    policy: RestartPolicy = RestartPolicy.ON_FAILURE
    initial_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 300.0
    max_retries: int = 10
    """At most that many restarts within `window`; then Failed("gave up"). 0 means no restart at all, 10000 or more no limit."""
    window: float = 3600.0
    """Seconds over which restarts are counted."""
    stable_after: float = 60.0
    """A run of that many seconds resets the delay."""
    jitter: float = 0.0
    """0 to 1: the delay is multiplied by a random factor in [1 - jitter, 1 + jitter], then capped."""
    delegate: bool = False
    """Let the platform restart it, also while no manager runs. Refused where the platform would not do exactly this policy."""


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the daemon's output goes and how files rotate."""

    destination: LogDestination = LogDestination.FILE
    path: str | None = None
    """The file; absent means <state>/logs/<name>.log."""
    max_bytes: int = 10 * 1024 * 1024
    """Rotate before the file grows beyond that."""
    backups: int = 5
    """Old files kept: path.1 is the newest."""


class ReadinessConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When Starting becomes Running."""

    kind: ReadinessKind = ReadinessKind.AUTO
    timeout: float = 30.0
    """Seconds to become ready, then the start has failed."""
    settle: float = 0.25
    """kind none: alive that long means ready."""
    port: int | None = None
    """kind port: a TCP port on loopback."""
    exec: tuple[str, ...] = ()
    """kind exec: a program that exits 0 when the daemon is ready; tried every `interval`."""
    pattern: str | None = None
    """kind log-line: a regular expression searched in each line of output."""
    interval: float = 0.05
    """Seconds between tries of port and exec."""


class SecurityConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hardening. What a platform cannot do is reported as ignored, or refused (`best_effort`)."""

    no_new_privileges: bool = False
    umask: int | None = None
    supplementary_groups: tuple[str, ...] = ()
    read_only_root: bool = False
    """The daemon sees every file system read-only but `writable_paths`."""
    writable_paths: tuple[str, ...] = ()
    """Absolute paths that stay writable under `read_only_root`."""
    private_tmp: bool = False
    """A /tmp of its own."""
    drop_capabilities: tuple[str, ...] = ()
    """Capabilities (capabilities(7), without CAP_) the daemon must not have; "ALL" drops all but `add_capabilities`."""
    add_capabilities: tuple[str, ...] = ()
    """Capabilities it keeps or gets, as far as the platform has them to give."""
    seccomp: str | None = None
    """The profile of system calls it may make: compute, service or network-service; None leaves them all."""
    seccomp_allow: tuple[str, ...] = ()
    """System calls allowed beyond the profile."""
    seccomp_deny: tuple[str, ...] = ()
    """System calls forbidden, with a profile or without."""
    seccomp_action: str = "kill"
    """What a forbidden call does: kill the daemon by SIGSYS, or fail with EPERM ("errno")."""
    network: bool = True
    """Without it socket(2) gives EPERM for every family but AF_UNIX, which readiness and health need."""
    network_namespace: str | None = None
    """The network namespace it runs in, one that somebody made: a file of /run/netns (ip-netns(8)) or /proc/PID/ns/net."""
    readable_paths: tuple[str, ...] = ()
    """Absolute paths it may read and execute below; with any, nothing else but these, what programs need to start, and `writable_paths`."""

    @property
    def filters_calls(self) -> bool:
        """Whether any system call is filtered; tells it without the profiles, which take longer to load than a daemon to start."""
        return bool(self.seccomp or self.seccomp_deny or not self.network)


class QualityConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `duende deploy` demands of a daemon's code. Thresholds are strict: only what is beyond one is a violation."""

    enabled: bool = False
    max_complexity: int = 20
    """Cyclomatic complexity of a function (T. McCabe, 1976)."""
    satd_tolerance: int = 0
    """Comments by which authors admit a debt themselves: TODO, FIXME, ..."""
    dead_code_max_percent: float = 10.0
    """Lines that nothing uses or reaches, of all lines of code."""
    min_quality_score: float = 80.0
    """0 to 100; `duende.policy.quality` says how it is made."""


class PlatformSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[platform]`: keys of single platforms. Sub-tables belong to the adapter of that name and are checked by it."""

    adapter: str | None = None
    """Which adapter runs this daemon: native, systemd, container, ...; absent means the manager's own."""
    container_image: str | None = None
    vcpus: int | None = None
    kernel_path: str | None = None
    rootfs_path: str | None = None
    priority: int | None = None
    native: dict[str, Any] = {}
    """`preload` (bool, default true): start Python daemons from the preloaded interpreter; `python`: another interpreter."""
    systemd: dict[str, Any] = {}
    launchd: dict[str, Any] = {}
    container: dict[str, Any] = {}
    pepita: dict[str, Any] = {}
    wos: dict[str, Any] = {}


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one daemon. Exactly one of `binary_path` and `daemon` says what to run."""

    name: str
    version: str = "0.1.0"
    description: str = ""
    binary_path: str | None = None
    """The program to run; a bare name is looked up in PATH."""
    daemon: str | None = None
    """A `Daemon` class to run: "module:Class" or "path/file.py:Class"; a relative path is meant from the folder of the file that says it."""
    config_path: str | None = None
    """The daemon's own configuration file, watched by reload."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    env_file: str | None = None
    """A file of KEY=value lines, read at every start; `env` wins."""
    user: str | None = None
    group: str | None = None
    working_dir: str | None = None
    resources: ResourceConfig = ResourceConfig()
    health_check: HealthCheckConfig = HealthCheckConfig()
    restart: RestartConfig = RestartConfig()
    logging: LoggingConfig = LoggingConfig()
    readiness: ReadinessConfig = ReadinessConfig()
    security: SecurityConfig = SecurityConfig()
    quality: QualityConfig = QualityConfig()
    policy: PolicyConfig = PolicyConfig()
    """What `ctx.policy` hands out, by name; `duende policy` changes it in the running daemon."""
    shutdown_timeout: float = 30.0
    pid_file: str | None = None
    """Absent: <runtime>/<name>.pid for a daemon of a manager, none for `duende run` unless asked."""
    platform: PlatformSection = PlatformSection()
    count: int = 1
    """Instances in a fleet: name-0, name-1, ... when it is not 1."""
    autostart: bool = True
    """Whether the manager starts it when it comes up."""
    best_effort: bool = False
    """Whether a limit that cannot be enforced is a warning instead of an error."""
    settings: dict[str, Any] = {}
    """The daemon's own settings, free of form: `config.settings` in `init`, new ones after a reload."""


def readiness_of(config: DaemonConfig) -> ReadinessKind:
    """The kind of readiness that `auto` stands for."""
    kind = config.readiness.kind
    if kind is ReadinessKind.AUTO:
        return ReadinessKind.NOTIFY if config.daemon is not None else ReadinessKind.NONE
    return kind
