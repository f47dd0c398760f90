"""Groups of system calls, by what they are for: the division is that of systemd's own groups (`systemd-analyze syscall-filter`)."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


GROUPS: dict[str, frozenset[str]] = {
    "aio": _names(
        "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter "
        "io_uring_register io_uring_setup"
    ),
    "basic_io": _names(
        "close close_range dup dup2 dup3 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read "
        "readv write writev"
    ),
    "chown": _names("chown fchown fchownat lchown"),
    "default": _names(
        "arch_prctl brk clock_getres clock_gettime clock_nanosleep execve exit exit_group futex "
        "futex_waitv get_robust_list get_thread_area getegid geteuid getgid getgroups getpgid getpgrp "
        "getpid getppid getrandom getresgid getresuid getrlimit getsid gettid gettimeofday getuid "
        "membarrier mmap mprotect munmap nanosleep pause prlimit64 restart_syscall rseq rt_sigreturn "
        "sched_getaffinity sched_yield set_robust_list set_thread_area set_tid_address time"
    ),
    "file_system": _names(
        "access chdir chmod close creat faccessat faccessat2 fallocate fchdir fchmod fchmodat fchmodat2 "
        "fcntl fgetxattr flistxattr fremovexattr fsetxattr fstat fstatfs ftruncate futimesat getcwd "
        "getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch "
        "lgetxattr link linkat listxattr llistxattr lremovexattr lsetxattr lstat mkdir mkdirat mknod "
        "mknodat newfstatat open openat openat2 readlink readlinkat removexattr rename renameat renameat2 "
        "rmdir setxattr stat statfs statx symlink symlinkat truncate unlink unlinkat utime utimensat "
        "utimes"
    ),
    "io_event": _names(
        "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
        "epoll_wait_old eventfd eventfd2 poll ppoll pselect6 select"
    ),
    "ipc": _names(
        "memfd_create mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl "
        "msgget msgrcv msgsnd pipe pipe2 process_madvise process_vm_readv process_vm_writev semctl semget "
        "semop semtimedop shmat shmctl shmdt shmget"
    ),
    "memlock": _names("mlock mlock2 mlockall munlock munlockall"),
    "network_io": _names(
        "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg "
        "sendmmsg sendmsg sendto setsockopt shutdown socket socketpair"
    ),
    "process": _names(
        "capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl "
        "rt_sigqueueinfo rt_tgsigqueueinfo setns tgkill times tkill unshare vfork wait4 waitid"
    ),
    "resources": _names(
        "ioprio_set mbind migrate_pages move_pages sched_setaffinity sched_setattr sched_setparam "
        "sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit"
    ),
    "setuid": _names("setgid setgroups setregid setresgid setresuid setreuid setuid"),
    "signal": _names(
        "rt_sigaction rt_sigpending rt_sigprocmask rt_sigsuspend rt_sigtimedwait sigaltstack signalfd "
        "signalfd4"
    ),
    "sync": _names("fdatasync fsync msync sync sync_file_range syncfs"),
    "timer": _names(
        "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_settime "
        "timerfd_create timerfd_gettime timerfd_settime times"
    ),
    "general": _names(
        "capget capset copy_file_range fadvise64 flock get_mempolicy getcpu getpriority ioctl ioprio_get "
        "kcmp madvise mremap name_to_handle_at personality readahead remap_file_pages "
        "sched_get_priority_max sched_get_priority_min sched_getattr sched_getparam sched_getscheduler "
        "sched_rr_get_interval sched_yield sendfile setfsgid setfsuid setpgid setsid splice sysinfo tee "
        "umask uname userfaultfd vmsplice"
    ),
}
"""Names of x86-64 and of arm64; a machine that lacks one leaves it out."""
