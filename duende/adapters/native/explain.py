"""What the kernel made of a configuration, read back from a running process (proc(5), prlimit(2)), and what the native adapter leaves out.

A plain process has rlimits, a user and a folder; what needs a control group or a mount namespace is ignored here, and said so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from duende.adapters.contract import Found, SettingReport
from duende.adapters.native.ignored import CONTROLLED, IGNORED, asked, value_of
from duende.adapters.native.render import limits_of
from duende.config.model import DaemonConfig
from duende.errors import InstanceNotFoundError
from duende.kernel.mounts import options_of
from duende.kernel.process import read_stat, status_fields
from duende.kernel.rlimits import INFINITY, NAMES, limit_text, soft_limits

KEYS = {
    "RLIMIT_NOFILE": "resources.open_files_max",
    "RLIMIT_DATA": "resources.memory_bytes",
    "RLIMIT_CORE": "resources.core_bytes",
    "RLIMIT_STACK": "resources.stack_bytes",
    "RLIMIT_AS": "resources.address_space_bytes",
    "RLIMIT_MEMLOCK": "resources.lock_memory",
}


def explain(name: str, pid: int, config: DaemonConfig) -> list[SettingReport]:
    """Every setting beside what the process *pid* has; the caller has verified that it is the daemon's.

    Raises:
        InstanceNotFoundError: it has ended.
    """
    stat, fields = read_stat(pid), status_fields(pid)
    if stat is None or not fields:
        raise InstanceNotFoundError(f"cannot explain {name!r}: process {pid} has ended")
    return [*_limits(pid, config), *_identity(pid, config, fields), *_left_out(config)]


def _limits(pid: int, config: DaemonConfig) -> Iterator[SettingReport]:
    table = soft_limits(pid)
    if not table:
        raise InstanceNotFoundError(f"process {pid} has ended")
    for name, soft, _ in limits_of(config):
        found = table.get(NAMES[name], INFINITY)
        wanted = INFINITY if soft == -1 else soft
        outcome, why = Found.HONOURED, name
        if name == "RLIMIT_DATA":
            outcome, why = (
                Found.APPROXIMATED,
                "RLIMIT_DATA: private memory of each process, not of all together",
            )
        elif name == "RLIMIT_MEMLOCK":
            outcome = Found.HONOURED if found == wanted else Found.APPROXIMATED
            why = "RLIMIT_MEMLOCK; CAP_IPC_LOCK goes beyond it"
        if name != "RLIMIT_MEMLOCK" and found != wanted:
            outcome, why = Found.APPROXIMATED, f"{name}: as much as the hard limit here allows"
        yield SettingReport(
            key=KEYS[name], wanted=limit_text(wanted), found=limit_text(found), outcome=outcome, why=why
        )


def _identity(pid: int, config: DaemonConfig, fields: dict[str, str]) -> Iterator[SettingReport]:
    status = f"/proc/{pid}/status"
    if config.user is not None:
        yield _same("user", str(_user_id(config.user)), fields["Uid"].split()[1], status)
    if config.group is not None:
        yield _same("group", str(_group_id(config.group)), fields["Gid"].split()[1], status)
    if config.security.supplementary_groups:
        wanted = {str(_group_id(each)) for each in config.security.supplementary_groups}
        found = set(fields["Groups"].split())
        yield SettingReport(
            key="security.supplementary_groups",
            wanted=" ".join(sorted(wanted)),
            found=" ".join(sorted(found)),
            outcome=Found.HONOURED if wanted <= found else Found.IGNORED,
            why=status,
        )
    if config.working_dir is not None:
        try:
            where = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            where = ""
        # A daemon may go elsewhere by itself, so another folder is no proof that it was not started in this one.
        outcome = Found.HONOURED if where == os.path.realpath(config.working_dir) else Found.APPROXIMATED
        yield SettingReport(
            key="working_dir", wanted=config.working_dir, found=where, outcome=outcome, why=f"/proc/{pid}/cwd"
        )
    if config.resources.nice is not None:
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        yield _same("resources.nice", str(config.resources.nice), str(nice), "getpriority(2)")
    if config.security.umask is not None:
        yield _same("security.umask", f"{config.security.umask:04o}", fields["Umask"], status)
    if config.security.no_new_privileges:
        yield _same("security.no_new_privileges", "1", fields["NoNewPrivs"], status)
    yield from _mounts(pid, config)
    yield from _confinement(config, fields, status)


def _mounts(pid: int, config: DaemonConfig) -> Iterator[SettingReport]:
    security = config.security
    if not security.read_only_root and not security.private_tmp:
        return
    options, where = options_of(pid), f"/proc/{pid}/mountinfo"
    wanted = [("private_tmp", "/tmp", "rw")] if security.private_tmp else []  # noqa: S108
    if security.read_only_root:
        wanted += [
            ("read_only_root", "/", "ro"),
            *(("writable_paths", path, "rw") for path in security.writable_paths),
        ]
    for key, path, mode in wanted:
        found = options.get(path, "not mounted")
        right = mode in found.split(",")
        outcome = Found.HONOURED if right else Found.IGNORED
        yield SettingReport(
            key=f"security.{key}", wanted=f"{path} {mode}", found=found, outcome=outcome, why=where
        )


def _confinement(config: DaemonConfig, fields: dict[str, str], status: str) -> Iterator[SettingReport]:
    security = config.security
    filtered = Found.HONOURED if fields.get("Seccomp") == "2" else Found.IGNORED
    for key, wanted in (
        ("seccomp", security.seccomp or ""),
        ("seccomp_deny", " ".join(security.seccomp_deny)),
        ("network", "" if security.network else "off"),
    ):
        if wanted:
            found = f"{fields.get('Seccomp_filters', '?')} filter(s)"
            yield SettingReport(
                key=f"security.{key}", wanted=wanted, found=found, outcome=filtered, why=f"{status}, Seccomp"
            )
    if security.readable_paths:
        wanted = " ".join(security.readable_paths)
        why = "landlock(7): applied before the program was executed; the kernel shows nobody"
        yield SettingReport(
            key="security.readable_paths", wanted=wanted, found="", outcome=Found.APPROXIMATED, why=why
        )
    if security.drop_capabilities:
        from duende.policy.security.profiles import dropped_capabilities

        left = int(fields["CapBnd"], 16) | int(fields["CapPrm"], 16)
        outcome = Found.IGNORED if left & dropped_capabilities(security) else Found.HONOURED
        wanted = " ".join(security.drop_capabilities)
        yield SettingReport(
            key="security.drop_capabilities",
            wanted=wanted,
            found=f"{left:#x}",
            outcome=outcome,
            why=f"{status}, CapBnd and CapPrm",
        )


def _same(key: str, wanted: str, found: str, why: str) -> SettingReport:
    outcome = Found.HONOURED if wanted == found else Found.IGNORED
    return SettingReport(key=key, wanted=wanted, found=found, outcome=outcome, why=why)


def _user_id(name: str) -> int:
    import pwd

    return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid


def _group_id(name: str) -> int:
    import grp

    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid


def _left_out(config: DaemonConfig) -> Iterator[SettingReport]:
    for key in CONTROLLED:
        value = value_of(config, key)
        if value and key != "resources.memory_bytes":  # which has its rlimit
            why = "a default, and no other limit asks for a control group"
            yield SettingReport(key=key, wanted=str(value), found="", outcome=Found.IGNORED, why=why)
    for key, why in IGNORED.items():
        value = value_of(config, key)
        if asked(config, key) or (key.startswith("resources.") and value):
            yield SettingReport(key=key, wanted=str(value), found="", outcome=Found.IGNORED, why=why)
