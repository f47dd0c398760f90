"""The exit statuses 200-245 that systemd itself makes when a unit cannot be started: systemd.exec(5), "Process exit codes". A table."""

from __future__ import annotations

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One thing systemd does before the program runs."""

    name: str
    """systemd's own word for it."""
    step: str
    """The step as `SpawnError.step` has it."""
    what: str
    """What could not be done; `{about}` is the value of the configuration."""
    key: str = ""
    """The dotted key of the configuration that is to blame, or empty."""
    remedy: str = ""


_RIGHTS = "use the system's systemd (user=False), or leave it out"
STEPS: dict[int, Step] = {
    200: Step("CHDIR", "working_dir", "cannot enter working_dir {about}", "working_dir", "create it, or let the daemon's user enter it"),
    201: Step("NICE", "nice", "cannot set niceness {about}", "resources.nice", _RIGHTS),
    202: Step("FDS", "fds", "cannot close or arrange file descriptors"),
    203: Step("EXEC", "exec", "cannot run {about}", "binary_path", "check binary_path: it must exist there, be executable, and have a #! line"),
    204: Step("MEMORY", "memory", "not enough memory", "resources.memory_bytes", "raise resources.memory_bytes"),
    205: Step("LIMITS", "limit", "cannot set a limit", "resources.open_files_max", "a limit above the hard limit needs CAP_SYS_RESOURCE"),
    206: Step("OOM_ADJUST", "oom_adjust", "cannot set the OOM score"),
    207: Step("SIGNAL_MASK", "signal_mask", "cannot set the signal mask"),
    208: Step("STDIN", "stdin", "cannot set up standard input"),
    209: Step("STDOUT", "log", "cannot open the log {about}", "logging.path", "correct logging.path or the rights on its folder"),
    210: Step("CHROOT", "chroot", "cannot change the root folder"),
    211: Step("IOPRIO", "ioprio", "cannot set the I/O priority"),
    212: Step("TIMERSLACK", "timerslack", "cannot set the timer slack"),
    213: Step("SECUREBITS", "securebits", "cannot set the secure bits"),
    214: Step("SETSCHEDULER", "scheduler", "cannot set the scheduler"),
    215: Step("CPUAFFINITY", "affinity", "cannot set the CPU affinity"),
    216: Step("GROUP", "group", "cannot become group {about}", "group", "groupadd, or correct the name; only the system's systemd may change it"),
    217: Step("USER", "user", "cannot become user {about}", "user", "useradd, or correct the name; only the system's systemd may change it"),
    218: Step("CAPABILITIES", "capabilities", "cannot set capabilities", "security.drop_capabilities", _RIGHTS),
    219: Step("CGROUP", "cgroup", "cannot set up the control group"),
    220: Step("SETSID", "setsid", "cannot make a session"),
    221: Step("CONFIRM", "confirm", "the start was not confirmed"),
    222: Step("STDERR", "log", "cannot open the log {about}", "logging.path", "correct logging.path or the rights on its folder"),
    224: Step("PAM", "pam", "cannot set up PAM"),
    225: Step("NETWORK", "network", "cannot set up the network namespace"),
    226: Step("NAMESPACE", "namespace", "cannot set up the mount namespace", "security.writable_paths", "create the folders of security.writable_paths first"),
    227: Step("NO_NEW_PRIVILEGES", "no_new_privs", "cannot forbid new privileges"),
    228: Step("SECCOMP", "seccomp", "cannot set the system call filter"),
    229: Step("SELINUX_CONTEXT", "selinux", "cannot set the SELinux context"),
    230: Step("PERSONALITY", "personality", "cannot set the personality"),
    231: Step("APPARMOR_PROFILE", "apparmor", "cannot set the AppArmor profile"),
    232: Step("ADDRESS_FAMILIES", "address_families", "cannot restrict address families"),
    233: Step("RUNTIME_DIRECTORY", "runtime_dir", "cannot make the runtime folder"),
    235: Step("CHOWN", "chown", "cannot change an owner"),
    236: Step("SMACK_PROCESS_LABEL", "smack", "cannot set the SMACK label"),
    237: Step("KEYRING", "keyring", "cannot set up the kernel keyring"),
    238: Step("STATE_DIRECTORY", "state_dir", "cannot make the state folder"),
    239: Step("CACHE_DIRECTORY", "cache_dir", "cannot make the cache folder"),
    240: Step("LOGS_DIRECTORY", "logs_dir", "cannot make the logs folder"),
    241: Step("CONFIGURATION_DIRECTORY", "configuration_dir", "cannot make the configuration folder"),
    242: Step("NUMA_POLICY", "numa", "cannot set the NUMA policy"),
    243: Step("CREDENTIALS", "credentials", "cannot set up credentials"),
    245: Step("BPF", "bpf", "cannot apply BPF restrictions"),
}  # fmt: skip
