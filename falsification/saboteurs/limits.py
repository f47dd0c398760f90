"""Defects of limits."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

WRITES, GROUPS = "duende/policy/cgroups/writes.py", "duende/adapters/native/groups.py"
BOUNDS = "duende/adapters/bounds.py"

mutant(
    "memory-limit-is-not-written",
    breaks="a group is made, and its memory is not limited",
    file=WRITES,
    old="    if memory is None:\n        return []\n",
    new="    if memory is not None:\n        return []\n",
)
mutant(
    "daemon-stays-outside-its-group",
    breaks="a group with limits is made, and the daemon does not enter it",
    file="duende/adapters/native/warden/confined.py",
    old='        os.write(fd, b"0")\n',
    new="        pass\n",
)
mutant(
    "cpu-quota-is-not-written",
    breaks="the quota does not reach the group",
    file=WRITES,
    old="    if limits.cpu_percent is not None:\n",
    new="    if False and limits.cpu_percent is not None:\n",
)
mutant(
    "cpu-quota-is-rounded-up",
    breaks="a quota is rounded up to the next half of a core",
    file=WRITES,
    old="        quota = math.floor(percent * period / 100 * (1.0 - spared))\n",
    new="        quota = math.floor(-(-percent // 50) * 50 * period / 100 * (1.0 - spared))\n",
)
mutant(
    "open-files-limit-is-left-out",
    breaks="the limit of open files is not among those that are set",
    file="duende/adapters/native/render.py",
    old='limits = [("RLIMIT_NOFILE", resources.open_files_max, resources.open_files_max)]',
    new='limits = [("RLIMIT_NOFILE", 4096, 4096)]',
)
mutant(
    "pids-limit-is-not-written",
    breaks="the limit of processes does not reach the group",
    file=WRITES,
    old='    return [] if limits.pids is None else [("pids.max", str(limits.pids))]',
    new="    return []",
)
mutant(
    "io-limit-is-not-written",
    breaks="the limit of bytes does not reach the group",
    file=WRITES,
    old="def _io(limits: Limits, version: int) -> Writes:\n",
    new="def _io(limits: Limits, version: int) -> Writes:\n    return []\n",
)
mutant(
    "limits-are-for-the-first-start-only",
    breaks="a daemon that is started again enters no group",
    file=GROUPS,
    old="        wanted = asks(config)\n        if not self._swept",
    new="        if request.daemon_id in self._seen:\n            return ()\n        wanted = asks(config)\n        if not self._swept",
)
mutant(
    "a-live-change-changes-nothing",
    breaks="new limits are remembered, and not written",
    file=GROUPS,
    old="        limiter.apply(limits_of(config), loose=set(CONTROLLERS) - asks(config))",
    new="        limiter.limits = limits_of(config)",
)
mutant(
    "nobody-looks-at-the-groups",
    breaks="what happens in groups is looked at every ten seconds",
    file=GROUPS,
    old="LOOK_EVERY = 0.25",
    new="LOOK_EVERY = 10.0",
)
mutant(
    "alerts-are-swallowed",
    breaks="the manager tells nobody of a limit that bit",
    file="duende/supervisor.py",
    old='            self._emit("limit", event.detail)',
    new="            pass",
)
mutant(
    "network-limit-is-not-set",
    breaks="a network namespace is entered, and what leaves it is not shaped",
    file=BOUNDS,
    old="            Shaper(_namespace(config)).apply(config.resources.network_bps)\n",
    new="            pass\n",
)
mutant(
    "network-rate-is-taken-for-bits",
    breaks="a rate in bytes is told to tc eight times too high",
    file="duende/policy/traffic.py",
    old="    rate = max(1, int(bps - bucket / WINDOW))\n",
    new="    rate = max(1, 8 * int(bps - bucket / WINDOW))\n",
)
mutant(
    "daemon-stays-in-the-hosts-network",
    breaks="a namespace is shaped, and the daemon does not enter it",
    file="duende/kernel/namespaces.py",
    old="        if libc.setns(ctypes.c_int(fd), ctypes.c_int(CLONE_NEWNET)) != 0:\n",
    new="        if libc is None:\n",
)
mutant(
    "disk-quota-is-not-set",
    breaks="the folder is looked at, and its quota is not set",
    file=BOUNDS,
    old="            DiskQuota(_folder(config)).apply(config.resources.disk_bytes)\n",
    new="            DiskQuota(_folder(config))\n",
)
mutant(
    "disk-quota-counts-what-is-not-shared",
    breaks="the limit is set for another figure than the bytes that the folder refers to",
    file="duende/kernel/quota.py",
    old='        struct.pack("=QQQQQQ", 0, BTRFS_QGROUP_LIMIT_MAX_RFER, most, 0, 0, 0),\n',
    new='        struct.pack("=QQQQQQ", 0, 0, most, 0, 0, 0),\n',
)
